package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// The names in a message's metadata that stand for properties of AMQP's. All others are headers.
const (
	correlationID = "correlation_id"
	replyTo       = "reply_to"
	contentType   = "content_type"
)

// properties is a marshaler that knows the properties of AMQP's messages, which Watermill's own one leaves out.
type properties struct{}

// Marshal is amqp.Marshaler's.
func (properties) Marshal(m *message.Message) (amqp091.Publishing, error) {
	return amqp091.Publishing{
		MessageId: m.UUID, CorrelationId: m.Metadata[correlationID], ReplyTo: m.Metadata[replyTo],
		ContentType: "application/json", DeliveryMode: amqp091.Persistent, Body: m.Payload,
	}, nil
}

// Unmarshal is amqp.Marshaler's. Headers that are no text are passed over: quorum queues add a number, x-delivery-count,
// which Watermill's own marshaler stumbles over again and again.
func (properties) Unmarshal(d amqp091.Delivery) (*message.Message, error) {
	m := message.NewMessage(d.MessageId, d.Body)
	for name, value := range d.Headers {
		if text, is := value.(string); is {
			m.Metadata[name] = text
		}
	}
	m.Metadata[correlationID], m.Metadata[contentType] = d.CorrelationId, d.ContentType
	return m, nil
}

// theirs declares our queues, and not Doorman's exchanges: where those are missing is no Doorman, or one with another
// prefix, and that should be an error.
type theirs struct{ amqp.DefaultTopologyBuilder }

// ExchangeDeclare is amqp.TopologyBuilder's.
func (theirs) ExchangeDeclare(channel *amqp091.Channel, name string, c amqp.Config) error {
	if err := channel.ExchangeDeclarePassive(name, c.Exchange.Type, true, false, false, false, nil); err != nil {
		return fmt.Errorf("there is no exchange %s (%w): does Doorman run on this RabbitMQ, and is DOORMAN_RABBITMQ_PREFIX "+
			"what its names begin with?", name, err)
	}
	return nil
}

// BuildTopology is amqp.TopologyBuilder's.
func (t theirs) BuildTopology(
	channel *amqp091.Channel, params amqp.BuildTopologyParams, c amqp.Config, _ watermill.LoggerAdapter,
) error {
	if params.ExchangeName != "" {
		if err := t.ExchangeDeclare(channel, params.ExchangeName, c); err != nil {
			return err
		}
	}
	// A durable quorum queue: what comes while we are away waits for us, and survives the loss of a broker. It grows
	// meanwhile: bound it (x-max-length), and see in README.md what happens when it is full.
	quorum := amqp091.Table{amqp091.QueueTypeArg: amqp091.QueueTypeQuorum}
	if _, err := channel.QueueDeclare(params.QueueName, true, false, false, false, quorum); err != nil {
		return err
	}
	if params.ExchangeName == "" {
		return nil // answers come by the queue's name
	}
	return channel.QueueBind(params.QueueName, params.RoutingKey, params.ExchangeName, false, nil)
}

// config is of an exchange and a queue. Neither goes by Watermill's topic.
func config(exchange, kind, queue, routingKey string) amqp.Config {
	key := func(string) string { return routingKey }
	return amqp.Config{
		Connection: amqp.ConnectionConfig{AmqpURI: brokerURL},
		Marshaler:  properties{},
		Exchange:   amqp.ExchangeConfig{GenerateName: amqp.GenerateExchangeNameConstant(exchange), Type: kind, Durable: true},
		Queue:      amqp.QueueConfig{GenerateName: amqp.GenerateQueueNameConstant(queue), Durable: true},
		QueueBind:  amqp.QueueBindConfig{GenerateRoutingKey: key},
		// Publish returns once the broker has the message on disk. Watermill does not tell of messages that no queue
		// took, mandatory or not; that the exchange is there, with Doorman's queue, is seen to by theirs.
		Publish:         amqp.PublishConfig{GenerateRoutingKey: key, ConfirmDelivery: true, Mandatory: true, ChannelPoolSize: 1},
		Consume:         amqp.ConsumeConfig{Qos: amqp.QosConfig{PrefetchCount: 1}},
		TopologyBuilder: theirs{},
	}
}

// publisher is NewPublisher's, with an error that says what to look at.
func publisher(c amqp.Config) (*amqp.Publisher, error) {
	made, err := amqp.NewPublisher(c, logger)
	return made, unconnected(err)
}

// subscriber is NewSubscriber's, likewise.
func subscriber(c amqp.Config) (*amqp.Subscriber, error) {
	made, err := amqp.NewSubscriber(c, logger)
	return made, unconnected(err)
}

func unconnected(err error) error {
	if err == nil {
		return nil
	}
	broker, wrong := amqp091.ParseURI(brokerURL)
	if wrong != nil { // it may hold a password
		return fmt.Errorf("AMQP_URL is no address such as amqp://guest:guest@127.0.0.1:5672: %w", wrong)
	}
	return fmt.Errorf("no connection to RabbitMQ at %s:%d (%w): AMQP_URL says where it is", broker.Host, broker.Port, err)
}

// logger tells what is wrong, and not all that is well.
var logger = watermill.NewSlogLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
