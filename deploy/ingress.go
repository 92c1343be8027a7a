package deploy

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
	"github.com/ticketed/doorman/commands/vetting"
)

// ingressLetGo is how long messages in hand may take to be settled when the program stops. What is not is given back to
// the broker.
const ingressLetGo = 5 * time.Second

// ingressing takes the commands that other services publish over RabbitMQ (DESIGN section 4).
type ingressing struct {
	*Program
	counts   ingressMetrics
	in       *ingress.Ingress
	consumer *rabbitmq.Ingress
	answers  answers
}

// startIngress begins to take commands of other services, where those of HTTP clients go.
func (d *distributed) startIngress(ctx context.Context, config rabbitmq.Config) error {
	replies, err := connected(ctx, d.Program, rabbitmq.NewExchanges, config)
	if err != nil {
		return err
	}
	d.onStop("closing the way of answers", func(context.Context) error { return replies.Close() })
	f := &ingressing{Program: d.Program, counts: newIngressMetrics(d.metrics)}
	f.answers = answers{publisher: replies, givenUp: f.counts.unanswered, patience: d.config.answersFor, log: d.log}
	f.in, err = ingress.New(ingress.Config{
		Rules:   vetting.Rules{Allows: d.allows},
		SendAll: d.door.SendAll, Ready: d.taking,
		Bury: f.bury, Reply: f.answers.reply, Reserved: d.config.RabbitMQPrefix + ".",
		Metrics: f.counts, Log: d.log,
	})
	if err != nil {
		return err
	}
	open := func(ctx context.Context, config rabbitmq.Config) (*rabbitmq.Ingress, error) {
		return rabbitmq.NewIngress(ctx, rabbitmq.IngressConfig{Config: config}, taker{f.in, d.taking})
	}
	f.in.Start()
	f.answers.start()
	d.onStop("settling the messages of other services", f.stop)
	if f.consumer, err = connected(ctx, d.Program, open, config); err != nil {
		return err
	}
	d.health.aside = append(d.health.aside, check{"commands over RabbitMQ", func(context.Context) error { return f.consumer.Ready() }})
	d.metrics.read("doorman_ingress_messages", "Messages of other services in hand.", func() int {
		n, _ := f.consumer.InHand()
		return n
	})
	d.metrics.read("doorman_ingress_bytes", "Bytes that they take.", func() int {
		_, n := f.consumer.InHand()
		return int(n)
	})
	return nil
}

// stop takes no more, settles what is in hand, and gives back the rest.
func (f *ingressing) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ingressLetGo)
	defer cancel()
	if f.consumer != nil {
		f.consumer.Cease()
	}
	if err := f.in.Stop(ctx); err != nil {
		f.log.Info("messages of other services are given back that could not be settled in time", "err", err)
	}
	f.answers.trying.end()
	if f.consumer == nil {
		return nil
	}
	return f.consumer.Close()
}

// taker has the broker's messages taken.
type taker struct {
	*ingress.Ingress
	ready func() error
}

// Ready is rabbitmq.Taker's, as is Take.
func (t taker) Ready() error { return t.ready() }

// Take hands messages over.
func (t taker) Take(messages []*rabbitmq.Incoming) {
	deliveries := make([]ingress.Delivery, len(messages))
	for i, m := range messages {
		deliveries[i] = m
	}
	t.Ingress.Take(deliveries)
}

// bury keeps what was refused as dead letters.
func (f *ingressing) bury(ctx context.Context, refused []ingress.Refused) error {
	now := time.Now().UTC()
	letters := make([]store.DeadLetter, len(refused))
	for i := range refused {
		letters[i] = letterOf(&refused[i], now)
	}
	gone, err := f.store.Bury(ctx, letters)
	if err == nil && gone > 0 {
		f.counts.gone.Add(float64(gone))
		f.log.Warn("the oldest refused messages of other services went for newer ones to be kept", "letters", gone)
	}
	return err
}

// letterOf is the dead letter of what was refused. A command of an array has no message id of its own, so that one who
// tries it again does not take the array's for it.
func letterOf(r *ingress.Refused, now time.Time) store.DeadLetter {
	m := r.Message
	letter := store.DeadLetter{
		At: now, Origin: store.OriginAMQP, Reason: r.Problem.Code, Cause: r.Problem.Error(),
		Key: r.Key(), Again: m.Deliveries > 0,
		Message: &store.Message{
			Body: r.Body, Size: r.Size, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, MessageID: m.MessageID,
			CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo, UserID: m.UserID, Exchange: m.Exchange, RoutingKey: m.RoutingKey,
			Properties: r.Properties(),
		},
	}
	if r.Item != ingress.Whole {
		letter.Message.MessageID = ""
	}
	if r.Cause != "" {
		letter.Cause += "\n" + r.Cause
	}
	return letter
}

// ingressMetrics are what Prometheus is told of the commands of other services.
type ingressMetrics struct {
	accepted, notNow, gone, unanswered prometheus.Counter
	refused                            *prometheus.CounterVec
}

var _ ingress.Metrics = ingressMetrics{}

func newIngressMetrics(m *Metrics) ingressMetrics {
	return ingressMetrics{
		accepted: m.counter("doorman_ingress_accepted_total", "Commands of other services that were accepted."),
		notNow: m.counter("doorman_ingress_not_now_total",
			"Times that a message of another service was kept to be tried again, because commands could not be taken."),
		gone: m.counter("doorman_ingress_letters_gone_total",
			"Refused messages that are no longer kept, because there are too many."),
		unanswered: m.counter("doorman_ingress_unanswered_total",
			"Answers to refused messages that were given up, because their queues did not take them or too many waited."),
		refused: m.vector("doorman_ingress_refused_total", "Commands and messages of other services that were refused.", "reason"),
	}
}

// Accepted is ingress.Metrics', as are the others.
func (m ingressMetrics) Accepted(n int) { m.accepted.Add(float64(n)) }

// Refused is a command, or a message that could not be read.
func (m ingressMetrics) Refused(code commands.Reason) { m.refused.WithLabelValues(string(code)).Inc() }

// NotNow is a message that waits.
func (m ingressMetrics) NotNow() { m.notNow.Inc() }
