package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

const (
	// CommandsExchange is what other services publish commands to, and the queue that keeps them, without the
	// prefix.
	CommandsExchange = "commands"

	// deliveryLimit is how often a message of another service may come back before the broker takes it away. Nothing
	// that was accepted is in that queue.
	deliveryLimit = 20
	// suspicious is from how many returns on a message is met alone: it may be what ends whoever reads it.
	suspicious = 3

	ingressBatch = 256
	readyEvery   = 100 * time.Millisecond
)

// The defaults of IngressConfig.
const (
	DefaultIngressMessages = 65_536
	DefaultIngressBytes    = 512 << 20
	DefaultIngressPrefetch = 1024
	DefaultIngressRoom     = 64 << 20
	DefaultIngressPatience = 5 * time.Second
)

// Taker answers for messages that come.
type Taker interface {
	// Ready tells, without asking anybody, why no messages can be taken at the moment; nil when they can.
	Ready() error
	// UnderWay is how many messages were taken of which nobody knows yet what becomes of them.
	UnderWay() int
	// Take takes messages in the order of the queue and returns soon. Each is settled in the end, from any
	// goroutine, unless it is lost before.
	Take(messages []*Incoming)
}

// IngressConfig is a Config with the bounds of an ingress. Zero means the default.
type IngressConfig struct {
	Config

	// The bounds of the queue, beyond which the broker refuses what is published. A queue keeps the bounds it was
	// made with.
	QueueMessages int // 65,536 by default
	QueueBytes    int // 512 MiB by default
	// What is in hand: Config.Prefetch messages, here 1,024 by default, and so many bytes of their bodies.
	Room int64 // 64 MiB by default; there is always room for one message

	// Patience is how long messages are kept in hand that cannot be taken at the moment, before others get them; 5 s
	// by default.
	Patience time.Duration
}

// Ingress consumes the commands that other services publish, over a connection of its own; the gateways of a
// deployment share them. It goes on over lost connections, and while nothing can be taken it leaves the messages to
// others.
type Ingress struct {
	config IngressConfig
	link   *link
	taker  Taker

	ctx    context.Context // ends when nothing more is to be taken
	cease  context.CancelFunc
	ceased chan struct{}   // closed when nothing more is taken
	over   context.Context // ends when what is not settled is to be given back
	end    context.CancelFunc
	ended  chan struct{}

	tried     chan struct{}         // closed when it was tried for the first time to consume
	problem   atomic.Pointer[error] // why nothing is consumed; nil while something is
	inHand    atomic.Int64
	closeOnce sync.Once
	purse     atomic.Pointer[purse]
}

// NewIngress connects, makes the exchange <prefix>.commands and its queue, and returns once that is done. It gives up
// with the context, or after Config.ConnectTimeout, or at once when the broker refuses. A queue that does not answer,
// or that somebody made otherwise, is nothing to give up for: it is tried again, and Ready tells.
func NewIngress(ctx context.Context, config IngressConfig, taker Taker) (*Ingress, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	def(&config.Prefetch, DefaultIngressPrefetch)
	def(&config.QueueMessages, DefaultIngressMessages)
	def(&config.QueueBytes, DefaultIngressBytes)
	def(&config.Room, DefaultIngressRoom)
	def(&config.Patience, DefaultIngressPatience)
	config.Config = config.withDefaults()
	i := &Ingress{config: config, taker: taker, tried: make(chan struct{}), ceased: make(chan struct{}), ended: make(chan struct{})}
	i.ctx, i.cease = context.WithCancel(context.Background())
	i.over, i.end = context.WithCancel(context.Background())
	i.link = newLink(&i.config.Config, "ingress", consumeHeartbeat)
	i.link.strain = config.Room
	if err := i.link.start(ctx); err != nil {
		return nil, fmt.Errorf("ingress: %w", err)
	}
	i.trouble(errNotYet)
	go i.run()
	patience := time.NewTimer(config.ConnectTimeout)
	defer patience.Stop()
	select {
	case <-i.tried:
	case <-patience.C:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), i.Close())
	}
	return i, nil
}

func def[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

var errNotYet = errors.New("the queue has not been given a consumer yet")

// Ready says why no commands are consumed at the moment; nil when they are, or when that is left to others for as
// long as nothing can be taken here.
func (i *Ingress) Ready() error {
	if session, problem, _ := i.link.state(); session == nil {
		return fmt.Errorf("%w: no connection to RabbitMQ: %w", bus.ErrUnavailable, problem)
	}
	if problem := i.problem.Load(); problem != nil {
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, *problem)
	}
	return nil
}

func (i *Ingress) trouble(err error) {
	if err == nil {
		i.problem.Store(nil)
		return
	}
	i.problem.Store(&err)
}

// InHand is how many messages were delivered and are not settled, and how many bytes they take.
func (i *Ingress) InHand() (messages int, bytes int64) {
	if p := i.purse.Load(); p != nil {
		bytes = p.bytes()
	}
	return int(i.inHand.Load()), bytes
}

// Cease takes no more messages, and returns once that is so. What was taken can still be settled.
func (i *Ingress) Cease() {
	i.cease()
	<-i.ceased
}

// Close gives back what is not settled, and ends the connection. It may be called again.
func (i *Ingress) Close() error {
	i.closeOnce.Do(func() {
		i.cease()
		i.end()
		if session, _, _ := i.link.state(); session != nil {
			defer session.limit(flushGrace)() // for answers of the broker's
		}
		<-i.ended
		i.link.stop()
	})
	return nil
}

// run consumes until it is ended, over as many connections as it takes.
func (i *Ingress) run() {
	defer close(i.ended)
	cease := sync.OnceFunc(func() { close(i.ceased) })
	defer cease()
	tried := sync.OnceFunc(func() { close(i.tried) })
	pause, first := minBackoff, true
	for i.ctx.Err() == nil {
		session, _, changed := i.link.state()
		if session == nil {
			i.await(changed, i.config.MaxBackoff)
			continue
		}
		if !first && i.taker.Ready() != nil {
			i.trouble(nil) // what keeps messages from being taken is told elsewhere
			i.await(session.ended, readyEvery)
			continue
		}
		stay, err := i.open(session)
		if err != nil && i.ctx.Err() == nil {
			i.trouble(err)
			i.config.Logger.Warn("cannot consume commands", "err", err)
		}
		first = false
		if err != nil {
			tried()
			i.await(i.ctx.Done(), pause)
			pause = min(2*pause, i.config.MaxBackoff)
			continue
		}
		pause = minBackoff
		i.trouble(nil)
		tried()
		stay.consume(cease)
	}
}

// await passes some time, less when something happens or nothing more is to be taken.
func (i *Ingress) await(happens <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-happens:
	case <-timer.C:
	case <-i.ctx.Done():
	}
}

// open makes what is to be there, and consumes one message.
func (i *Ingress) open(session *session) (*stay, error) {
	slow := time.AfterFunc(i.config.ConnectTimeout, func() {
		i.trouble(errors.New("RabbitMQ has not answered for the queue; it may have no leader"))
	})
	defer slow.Stop()
	defer context.AfterFunc(i.ctx, session.cut)()
	channel, err := i.declare(session)
	if err != nil {
		return nil, err
	}
	s := &stay{ingress: i, session: session, channel: channel, purse: session.purse, settled: make(chan struct{}, 1)}
	s.tell = time.NewTimer(gathered)
	s.tell.Stop()
	i.purse.Store(session.purse)
	s.turn = s.purse.begin()
	if err := s.ask(1); err != nil {
		s.leave()
		return nil, err
	}
	s.alone = true
	return s, nil
}

// declare makes the queue, the exchange, and the way from one to the other, in this order, so that what is confirmed
// is in a queue that a broker that is killed does not forget.
func (i *Ingress) declare(session *session) (*amqp.Channel, error) {
	name := i.config.exchange(CommandsExchange)
	made, err := session.makes(name)
	if err != nil {
		return nil, err
	}
	channel, err := session.conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	_, err = channel.QueueDeclare(name, true, false, false, false, i.arguments())
	if boundsDiffer(err) {
		i.config.Logger.Warn("the queue keeps the bounds it was made with", "queue", name, "err", err)
		if channel, err = session.conn.Channel(); err != nil { // the refusal has closed the first one
			return nil, fmt.Errorf("open a channel: %w", err)
		}
	}
	if err == nil && made {
		session.settle(&i.config.Config)
	}
	if err == nil {
		err = channel.ExchangeDeclare(name, amqp.ExchangeFanout, true, false, false, false, nil)
	}
	if err == nil {
		err = channel.QueueBind(name, "", name, false, nil)
	}
	if err != nil {
		if !channel.IsClosed() {
			_ = channel.Close()
		}
		return nil, fmt.Errorf("queue and exchange %s: %w", name, err)
	}
	return channel, nil
}

// arguments are those of the queue. Several consumers share it. What comes back again and again is taken away from
// them in the end, for everybody else to go on.
func (i *Ingress) arguments() amqp.Table {
	args := amqp.Table{
		amqp.QueueTypeArg:        amqp.QueueTypeQuorum,
		"x-max-length":           int64(i.config.QueueMessages),
		"x-max-length-bytes":     int64(i.config.QueueBytes),
		"x-overflow":             "reject-publish",
		"x-delivery-limit":       int64(deliveryLimit),
		"x-dead-letter-exchange": i.config.exchange(bus.DeadExchange),
	}
	if i.config.Expire > 0 {
		args["x-expires"] = i.config.Expire.Milliseconds()
	}
	return args
}
