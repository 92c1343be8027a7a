package deploy

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/commands/vetting"
)

const (
	// ingressLetGo is how long messages in hand may take to be settled when the program stops. What is not is given
	// back to the broker.
	ingressLetGo = 5 * time.Second
	// repliesAgain is how many answers may wait that somebody's queue refused.
	repliesAgain = 1024
)

// ingressing takes the commands that other services publish over RabbitMQ (DESIGN section 4).
type ingressing struct {
	*Program
	counts   ingressMetrics
	in       *ingress.Ingress
	consumer *rabbitmq.Ingress
	replies  *rabbitmq.Exchanges
	again    chan bus.Notice
	trying   stretch
}

// startIngress begins to take commands of other services, where those of HTTP clients go.
func (d *distributed) startIngress(ctx context.Context, config rabbitmq.Config) error {
	f := &ingressing{Program: d.Program, counts: newIngressMetrics(d.metrics), again: make(chan bus.Notice, repliesAgain)}
	var err error
	f.in, err = ingress.New(ingress.Config{
		Rules:   vetting.Rules{Allows: d.allows},
		SendAll: d.door.SendAll, Ready: d.taking,
		Bury: f.bury, Reply: f.reply, Reserved: d.config.RabbitMQPrefix + ".",
		Metrics: f.counts, Log: d.log,
	})
	if err != nil {
		return err
	}
	if f.replies, err = connected(ctx, d.Program, rabbitmq.NewExchanges, config); err != nil {
		return err
	}
	d.onStop("closing the way of answers", func(context.Context) error { return f.replies.Close() })
	open := func(ctx context.Context, config rabbitmq.Config) (*rabbitmq.Ingress, error) {
		return rabbitmq.NewIngress(ctx, rabbitmq.IngressConfig{Config: config}, taker{f.in, d.taking})
	}
	f.in.Start()
	f.trying.begin()
	f.trying.runs.Go(f.replyAgain)
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
	f.trying.end()
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

// reply tells senders what was refused. A queue that refuses is tried again for a while, and nobody waits for that.
func (f *ingressing) reply(ctx context.Context, replies []ingress.Reply) error {
	notices := make([]bus.Notice, len(replies))
	for i, r := range replies {
		notices[i] = bus.Notice{
			RoutingKey: r.To, MessageID: r.MessageID, CorrelationID: r.CorrelationID, ContentType: problem.ContentType,
			Body: r.Problem.AppendTo(nil), Persistent: true,
		}
	}
	refused, err := f.replies.PublishOnce(ctx, notices)
	if err != nil {
		return err
	}
	for _, notice := range refused {
		select {
		case f.again <- notice:
		default:
			f.counts.unanswered.Inc()
		}
	}
	return nil
}

// replyAgain publishes what was refused for as long as such things are tried, until the program stops.
func (f *ingressing) replyAgain() {
	var batch []bus.Notice
	for {
		select {
		case notice := <-f.again:
			batch = append(batch[:0], notice)
		case <-f.trying.ctx.Done():
			return
		}
		for len(f.again) > 0 {
			batch = append(batch, <-f.again)
		}
		if err := f.replies.Publish(f.trying.ctx, batch); err != nil && !errors.Is(err, context.Canceled) {
			f.log.Warn("answers to other services could not be published", "answers", len(batch), "err", err)
		}
	}
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
			"Answers to refused messages that were given up, because too many wait for queues that refuse them."),
		refused: m.vector("doorman_ingress_refused_total", "Commands and messages of other services that were refused.", "reason"),
	}
}

// Accepted is ingress.Metrics', as are the others.
func (m ingressMetrics) Accepted(n int) { m.accepted.Add(float64(n)) }

// Refused is a command, or a message that could not be read.
func (m ingressMetrics) Refused(code commands.Reason) { m.refused.WithLabelValues(string(code)).Inc() }

// NotNow is a message that waits.
func (m ingressMetrics) NotNow() { m.notNow.Inc() }
