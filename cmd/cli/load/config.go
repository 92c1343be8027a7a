package load

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// DefaultDuration is how long commands are sent.
const DefaultDuration = 10 * time.Second

// Config says what load to make. The zero value of a field means its default.
type Config struct {
	URL string // of the server; http://127.0.0.1:8080

	// AMQP is the address of a broker to send commands over, as other services do, instead of HTTP; the outcomes are
	// looked up at URL all the same. AMQPPrefix begins the names there; doorman.
	AMQP, AMQPPrefix string

	Duration time.Duration // how long to send; DefaultDuration when Count is 0 too
	Count    int           // how many commands to send, those sent twice counted once; 0: until Duration is over
	Rate     float64       // commands a second, sent when they are due; 0: as fast as the server answers

	Connections int // 64; over AMQP how many messages may be under way, 500
	Streams     int // 2,000
	Inflight    int // how many connections may share one stream; 64
	Array       int // commands a POST; 1

	Type    string // a stream type with the commands create and patch; document
	Payload int    // bytes of a command's data; 100

	OutOfOrder float64 // share of commands sent before their predecessor; 0.5 at most
	Duplicate  float64 // share of commands sent twice
	Stale      float64 // share of commands with a superseded ticket
	WaitShare  float64 // share of commands posted with Prefer: wait; negative for none; 0.02

	// Watchers are connections that are told of WatchStreams streams each by server-sent events; 0 streams:
	// so many that all are watched. WatchDeliver is state (the default), events or ticket.
	Watchers     int
	WatchStreams int
	WatchDeliver string
	WatchParked  float64 // share of the commands sent before their predecessor whose session is told of them
	Idle         int     // connections that each watch a stream to which nothing happens
	Fan          int     // connections that all watch one stream, which is changed now and then
	// StormReaders connect at once when StormBacklog commands have been accepted, and read them all.
	StormReaders, StormBacklog int
	AdminURL                   string // where the server tells of its memory; http://127.0.0.1:8081

	Seed uint64 // of every choice (ids stay unique); 1

	PID    int           // of the server, to tell what it costs; 0: not told
	Settle time.Duration // how long to wait for answers and outcomes after the last command; 60 s

	// Progress is called about twice a second while commands are sent, and must return soon.
	Progress func(Progress)

	plain bool          // use net.Conn also where epoll is to be had
	gone  time.Duration // for how long nobody may answer before the server counts as gone; 5 s
}

// Progress is where a run stands.
type Progress struct {
	Elapsed  time.Duration
	Commands int // sent, those sent twice counted once
	Accepted int
	Refusals int
	Stage    string // sending, settling, checking
}

const (
	maxArray       = 256         // commands a POST (DESIGN section 3)
	maxStreams     = 1<<22 - 1   // as many as an id has room to name
	maxConnections = 1 << 14     // the machine's limit on open files is near
	maxWatched     = 256         // streams of one connection (DESIGN section 3)
	otherFiles     = 64          // that are open beside the connections
	minPayload     = 16          // {"n":1234567890}
	maxPayload     = 200 << 10   // a body has 256 KiB at most
	waitSeconds    = 30          // the longest wait that a server grants
	answerTimeout  = time.Minute // after which a connection counts as broken
	goneAfter      = 5 * time.Second
)

func (c *Config) setDefaults() {
	def(&c.URL, "http://127.0.0.1:8080")
	if c.Count == 0 {
		def(&c.Duration, DefaultDuration)
	}
	if c.AMQP != "" {
		def(&c.Connections, 500)
		def(&c.AMQPPrefix, "doorman")
	}
	def(&c.Connections, 64)
	def(&c.Streams, 2000)
	def(&c.Inflight, 64)
	def(&c.Array, 1)
	def(&c.Type, "document")
	def(&c.Payload, 100)
	def(&c.WaitShare, 0.02)
	c.WaitShare = max(c.WaitShare, 0)
	def(&c.WatchDeliver, "state")
	def(&c.AdminURL, "http://127.0.0.1:8081")
	def(&c.Seed, 1)
	def(&c.Settle, time.Minute)
	def(&c.gone, goneAfter)
	// More connections than may share the streams would stay idle.
	c.Connections = min(c.Connections, c.Streams*c.Inflight)
}

func def[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// Validate tells everything that is wrong, after defaults.
func (c *Config) Validate() error {
	filled := *c
	filled.setDefaults()
	return filled.check()
}

func (c *Config) check() error {
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(c.URL)
	check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "",
		"url %q is not of the form http://host:port", c.URL)
	check(c.Duration >= 0 && c.Count >= 0, "duration and count cannot be negative")
	check(c.Rate >= 0, "rate %v is negative", c.Rate)
	check(c.Connections >= 1 && c.Connections <= maxConnections, "connections %d is not 1 to %d", c.Connections, maxConnections)
	check(c.Streams >= 1 && c.Streams <= maxStreams, "streams %d is not 1 to %d", c.Streams, maxStreams)
	check(c.Inflight >= 1, "inflight %d is not positive", c.Inflight)
	check(c.Array >= 1 && c.Array <= maxArray, "array %d is not 1 to %d", c.Array, maxArray)
	check(c.Payload >= minPayload && c.Payload <= maxPayload, "payload %d is not %d to %d bytes", c.Payload, minPayload, maxPayload)
	check(c.OutOfOrder >= 0 && c.OutOfOrder <= 0.5, "out-of-order %v is not a share up to 50%%", c.OutOfOrder)
	check(c.Duplicate >= 0 && c.Duplicate <= 1, "duplicate %v is not a share", c.Duplicate)
	check(c.Stale >= 0 && c.Stale < 1, "stale %v is not a share below 100%%", c.Stale)
	check(c.Watchers >= 0 && c.Idle >= 0 && c.Fan >= 0 && c.StormReaders >= 0 && c.StormBacklog >= 0, "watchers cannot be negative")
	check(c.WatchStreams >= 0 && c.WatchStreams <= maxWatched, "watch-streams %d is not 1 to %d", c.WatchStreams, maxWatched)
	check(c.WatchDeliver == "state" || c.WatchDeliver == "events" || c.WatchDeliver == "ticket",
		"watch-deliver %q is none of state, events, ticket", c.WatchDeliver)
	check(c.WatchParked >= 0 && c.WatchParked <= 1, "watch-parked %v is not a share", c.WatchParked)
	check(c.PID >= 0 && (c.PID == 0 || !absent(c.PID)), "pid %d is no process on this machine", c.PID)
	files, needed := openFiles(), c.sockets()+otherFiles
	check(files == 0 || needed <= files, "%d connections need %d open files here, and as many at the server; the limit is %d (ulimit -n)",
		c.sockets(), needed, files)
	check(c.AMQP == "" || c.Watchers+c.Idle+c.Fan+c.StormReaders == 0 && c.WatchParked == 0, "over AMQP nobody watches")
	check(c.AMQP == "" || c.Array == 1 || c.WaitShare == 0, "over AMQP the commands of an array are not waited for: wait-share must be 0")
	check(c.WaitShare <= 1, "wait-share %v is not a share", c.WaitShare)
	return errors.Join(wrong...)
}

// sockets is how many connections there may be at once.
func (c *Config) sockets() int {
	if c.AMQP != "" {
		return 1
	}
	n := c.Connections + c.Watchers + c.Idle + c.Fan + c.StormReaders
	if c.Fan > 0 {
		n++ // that changes the stream
	}
	if c.StormReaders > 0 {
		n++ // that tells where the log is before the first command
	}
	if c.WatchParked > 0 {
		n += (c.Connections + perOwn - 1) / perOwn
	}
	return n
}

// chains is how many streams are sent to: the fan has one of its own.
func (c *Config) chains() int {
	if c.Fan > 0 {
		return c.Streams + 1
	}
	return c.Streams
}
