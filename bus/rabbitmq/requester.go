package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Requester is another service that sends commands: each message confirmed, any number under way, and answered on a
// queue of its own when it asks for that. It is there to measure. One goroutine uses it.
type Requester struct {
	config  Config
	conn    *amqp.Connection
	socket  *cork
	channel *amqp.Channel
	queue   string
	answers <-chan amqp.Delivery
	closes  chan *amqp.Error
	open    fifo[request]
}

// request is one message that the broker has not answered.
type request struct {
	number  uint64
	confirm *amqp.DeferredConfirmation
}

// NewRequester connects to a deployment, whose exchange for commands must be there, and makes a queue for answers,
// which goes with the connection.
func NewRequester(ctx context.Context, config Config) (*Requester, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	r := &Requester{config: config.withDefaults()}
	dialer := net.Dialer{Timeout: r.config.ConnectTimeout}
	var err error
	r.conn, err = amqp.DialConfig(r.config.urls()[0], amqp.Config{
		Heartbeat: publishHeartbeat, TLSClientConfig: r.config.TLS, Properties: amqp.Table{"connection_name": r.config.Name + " requester"},
		Dial: func(network, addr string) (net.Conn, error) {
			socket, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			r.socket = &cork{Conn: socket}
			return r.socket, socket.SetDeadline(time.Now().Add(r.config.ConnectTimeout))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to RabbitMQ: %w", err)
	}
	if err := r.setUp(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Requester) setUp() (err error) {
	if r.channel, err = r.conn.Channel(); err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	exchange := r.config.exchange(CommandsExchange)
	if err := r.channel.ExchangeDeclarePassive(exchange, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return fmt.Errorf("exchange %s: %w", exchange, err)
	}
	if err := r.channel.Confirm(false); err != nil {
		return fmt.Errorf("have publishing confirmed: %w", err)
	}
	queue, err := r.channel.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return fmt.Errorf("make a queue for answers: %w", err)
	}
	r.queue = queue.Name
	if r.answers, err = r.channel.Consume(r.queue, "", true, true, false, false, nil); err != nil {
		return fmt.Errorf("consume answers: %w", err)
	}
	r.closes = r.channel.NotifyClose(make(chan *amqp.Error, 1))
	r.socket.put()
	return nil
}

// Send publishes a body, at the latest with the next Wait. Answers come under the number when they are asked for.
func (r *Requester) Send(number uint64, body []byte, answered bool) error {
	m := amqp.Publishing{Body: body, ContentType: "application/json", DeliveryMode: amqp.Persistent}
	if answered {
		m.ReplyTo, m.CorrelationId = r.queue, strconv.FormatUint(number, 10)
	}
	confirm, err := r.channel.PublishWithDeferredConfirm(r.config.exchange(CommandsExchange), "", false, false, m)
	if err != nil {
		return err
	}
	r.open.push(request{number, confirm})
	return nil
}

// Heard is told what comes back. It may send.
type Heard interface {
	// Confirmed: the broker has the message on disk, or refuses it.
	Confirmed(number uint64, taken bool)
	// Answered: the body is valid until it returns.
	Answered(number uint64, body []byte)
}

// Wait tells what has come, and waits for something until a moment when nothing has. An error says that the connection
// is lost, and with it what was not told.
func (r *Requester) Wait(until time.Time, heard Heard) error {
	if err := r.socket.pull(); err != nil {
		return err
	}
	r.socket.put()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for waits := true; ; waits = false {
		if r.confirmed(heard) || r.answered(heard) || !waits {
			return nil
		}
		var oldest <-chan struct{}
		if r.open.len() > 0 {
			oldest = r.open.at(0).confirm.Done()
		}
		select {
		case <-oldest:
		case d, open := <-r.answers:
			if !open {
				return errLost
			}
			r.answer(&d, heard)
		case problem := <-r.closes:
			return channelClosed(problem)
		case <-timer.C:
		}
	}
}

// confirmed tells of confirmations, in the order of sending, up to the first that has not come.
func (r *Requester) confirmed(heard Heard) (some bool) {
	for n := r.open.len(); n > 0; n-- {
		select {
		case <-r.open.at(0).confirm.Done():
		default:
			return some
		}
		x := r.open.pop()
		heard.Confirmed(x.number, x.confirm.Acked())
		some = true
	}
	return some
}

// answered tells of answers that are there.
func (r *Requester) answered(heard Heard) (some bool) {
	for {
		select {
		case d, open := <-r.answers:
			if !open {
				return some
			}
			r.answer(&d, heard)
			some = true
		default:
			return some
		}
	}
}

func (r *Requester) answer(d *amqp.Delivery, heard Heard) {
	if number, err := strconv.ParseUint(d.CorrelationId, 10, 64); err == nil {
		heard.Answered(number, d.Body)
	}
}

// Close ends the connection.
func (r *Requester) Close() error {
	_ = r.socket.pull() // what is not sent is not missed
	return r.conn.CloseDeadline(time.Now().Add(closeGrace))
}
