package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// The defaults of Config.
const (
	DefaultPrefix          = "doorman"
	DefaultMaxMessages     = 4096
	DefaultMaxBytes        = 256 << 20
	DefaultInFlight        = 256
	DefaultMaxPending      = 4096
	DefaultMaxPendingBytes = 64 << 20
	DefaultPrefetch        = 256
	DefaultConfirmTimeout  = 10 * time.Second
	DefaultConnectTimeout  = 10 * time.Second
	DefaultMaxBackoff      = 5 * time.Second
	DefaultRefusalPatience = 10 * time.Second
	DefaultAckEvery        = 100 * time.Millisecond
)

const (
	// maxBody is the largest message that RabbitMQ 4 takes unless it is told otherwise. A larger one
	// would cost the channel and with it the certainty of everything else under way.
	maxBody = 16 << 20
	// maxName is AMQP's limit for names of queues and for message ids.
	maxName = 255
	// maxPrefetch is that of the protocol's field.
	maxPrefetch = 1<<16 - 1
	// maxTopics keeps a connection within the 2,047 channels that a broker allows by default.
	maxTopics = 1024

	publishHeartbeat = 10 * time.Second
	// The broker gives up on a silent consumer after two to three heartbeats, 12 s: what a frozen worker
	// holds is back within 15 s (DESIGN section 7).
	consumeHeartbeat = 4 * time.Second

	minBackoff = 50 * time.Millisecond
	// steady is how long a connection must have lasted for the next attempt to come soon.
	steady = time.Second
	// closeGrace is how long an orderly goodbye may take.
	closeGrace = 2 * time.Second
	// leaveGrace is how long the end of one consumer may take, whose connection has others that are cut with it: less
	// than who subscribes to its queue again waits (ConnectTimeout), and than a lane may bring nothing before what waits
	// on it grows older again (worker.Config.HeldBack).
	leaveGrace = 8 * time.Second
	// flushGrace is how long the end of an ingress's consumer may take, until the broker's disk has its acknowledgements.
	flushGrace = 5 * time.Second
)

// Config says which broker and how to use it. Zero means the default.
type Config struct {
	// URL is amqp://user:password@host:port/vhost, or amqps://…; several, separated by commas, are
	// tried in turn: the nodes of a cluster. A heartbeat=seconds in it replaces the built-in ones.
	URL string
	// TLS is for amqps; without it the host's certificate is checked against the system's authorities.
	TLS *tls.Config
	// Prefix begins every name on the broker: topic lane.3 is the queue <prefix>.lane.3; "doorman" by
	// default. Deployments that share a broker differ in it.
	Prefix string
	// Name shows this process in the broker's list of connections; host and process id by default.
	Name string
	// Topics have their queues declared by the publisher when it connects, so that a mistake in the
	// broker's set-up is told at once. Any other topic is declared when it is first used.
	Topics []string

	// The bounds of a queue, beyond which the broker refuses what is published. They count what is not
	// delivered to a worker, and several publishers together may go over them by what they have in flight.
	// A queue keeps the bounds it was made with. Below 0 means none.
	MaxMessages int // 4,096 by default
	MaxBytes    int // 256 MiB by default

	// The bounds of a publisher, of each topic.
	InFlight        int // messages written to the broker and not confirmed; 256 by default
	MaxPending      int // messages taken and not answered, beyond which it answers bus.ErrFull; 4,096 by default
	MaxPendingBytes int // of their payloads; 64 MiB by default

	// Prefetch bounds what a subscription has been handed and the broker has not been told to be acknowledged; 256 by
	// default.
	Prefetch int
	// AckEvery is how long acknowledgements of a subscription are gathered at most, unless there are half as many as
	// Prefetch; 100 ms by default. Each word to a quorum queue costs the broker a write to disk, as a message does. What it
	// has not been told when a subscriber is killed comes again.
	AckEvery time.Duration

	ConfirmTimeout time.Duration // after which the fate of a message is unknown; 10 s by default
	ConnectTimeout time.Duration // for an attempt to connect, and for Subscribe; 10 s by default
	MaxBackoff     time.Duration // between attempts to connect; 5 s by default

	// RefusalPatience is how long a notice that somebody's queue refuses is tried again, before it is
	// passed over; 10 s by default (DESIGN section 4).
	RefusalPatience time.Duration

	// Expire has the broker delete queues that nobody has subscribed to or declared for so long, with
	// all that is in them. It is for tests alone.
	Expire time.Duration

	// Logger is told when connections come and go; slog.Default() by default.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics Metrics
}

func (c Config) withDefaults() Config {
	for _, setting := range []struct {
		value    *int
		fallback int
	}{
		{&c.MaxMessages, DefaultMaxMessages},
		{&c.MaxBytes, DefaultMaxBytes},
		{&c.InFlight, DefaultInFlight},
		{&c.MaxPending, DefaultMaxPending},
		{&c.MaxPendingBytes, DefaultMaxPendingBytes},
		{&c.Prefetch, DefaultPrefetch},
	} {
		if *setting.value == 0 {
			*setting.value = setting.fallback
		}
	}
	for _, setting := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&c.ConfirmTimeout, DefaultConfirmTimeout},
		{&c.ConnectTimeout, DefaultConnectTimeout},
		{&c.MaxBackoff, DefaultMaxBackoff},
		{&c.RefusalPatience, DefaultRefusalPatience},
		{&c.AckEvery, DefaultAckEvery},
	} {
		if *setting.value == 0 {
			*setting.value = setting.fallback
		}
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Name == "" {
		host, _ := os.Hostname()
		c.Name = fmt.Sprintf("doorman %s %d", host, os.Getpid())
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = NoMetrics{}
	}
	return c
}

// Validate reports everything that is wrong with a configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	var problems []error
	wrong := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("rabbitmq: "+format, args...))
	}
	vhost := ""
	for i, url := range c.urls() {
		uri, err := amqp.ParseURI(url)
		switch {
		case err != nil:
			wrong("URL %d of %d must be amqp://user:password@host:port/vhost: %w", i+1, len(c.urls()), err)
		case vhost == "":
			vhost = uri.Vhost
		case uri.Vhost != vhost:
			wrong("URL %d of %d names the virtual host %s and one before it %s: all are to lead to the same queues",
				i+1, len(c.urls()), uri.Vhost, vhost)
		}
	}
	for _, topic := range c.Topics {
		if _, err := c.queue(topic); err != nil {
			wrong("%w", err)
		}
	}
	if len(c.Topics) > maxTopics {
		wrong("there are %d topics and may be %d", len(c.Topics), maxTopics)
	}
	for name, value := range map[string]int{
		"in flight": c.InFlight, "max pending": c.MaxPending, "max pending bytes": c.MaxPendingBytes, "prefetch": c.Prefetch,
	} {
		if value < 0 {
			wrong("%s must not be below 0, it is %d", name, value)
		}
	}
	if c.Prefetch > maxPrefetch {
		wrong("prefetch must be %d at most, it is %d", maxPrefetch, c.Prefetch)
	}
	for name, value := range map[string]time.Duration{
		"confirm": c.ConfirmTimeout, "connect": c.ConnectTimeout, "backoff": c.MaxBackoff, "refusal": c.RefusalPatience, "expire": c.Expire,
		"acknowledgement": c.AckEvery,
	} {
		if value < 0 {
			wrong("the %s time must not be below 0, it is %s", name, value)
		}
	}
	return errors.Join(problems...)
}

func (c Config) urls() []string {
	list := strings.Split(c.URL, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// Place names what all who use the same queues have in common, by whatever address they reach the broker: virtual host and
// prefix, as "/ doorman" or "shop doorman".
func (c Config) Place() string {
	c = c.withDefaults()
	uri, err := amqp.ParseURI(c.urls()[0])
	if err != nil {
		return c.Prefix // Validate says what is wrong
	}
	return uri.Vhost + " " + c.Prefix
}

// queue names the queue of a topic.
func (c Config) queue(topic string) (string, error) {
	name := c.Prefix + "." + topic
	switch {
	case topic == "":
		return "", fmt.Errorf("%w: a topic needs a name", bus.ErrUnavailable)
	case len(name) > maxName:
		return "", fmt.Errorf("%w: the queue name %.20s… has %d bytes and may have %d", bus.ErrUnavailable, name, len(name), maxName)
	case strings.HasPrefix(name, "amq."):
		return "", fmt.Errorf("%w: the queue name %s is reserved for the broker", bus.ErrUnavailable, name)
	}
	return name, nil
}
