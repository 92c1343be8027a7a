package rabbitmq

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// arguments are those of every queue. Queues are quorum queues: what is confirmed is on disk, of most of a
// cluster's nodes. A single consumer is active at a time, so that whoever comes next gets nothing before
// the one who left has given back all it held; the next one's messages then begin with those.
func (c Config) arguments(brokerVersion string) amqp.Table {
	args := amqp.Table{
		amqp.QueueTypeArg:          amqp.QueueTypeQuorum,
		"x-single-active-consumer": true,
	}
	if c.MaxMessages > 0 {
		args["x-max-length"] = int64(c.MaxMessages)
	}
	if c.MaxBytes > 0 {
		args["x-max-length-bytes"] = int64(c.MaxBytes)
	}
	if c.MaxMessages > 0 || c.MaxBytes > 0 {
		args["x-overflow"] = "reject-publish"
	}
	if c.Expire > 0 {
		args["x-expires"] = c.Expire.Milliseconds()
	}
	// A limit would drop accepted commands after enough crashes. Version 4 has one unless it is told
	// otherwise; those before have none and do not understand -1.
	if major, _, _ := strings.Cut(brokerVersion, "."); major != "" {
		if n, err := strconv.Atoi(major); err == nil && n >= 4 {
			args["x-delivery-limit"] = int64(-1)
		}
	}
	return args
}

// settling is for how long a queue that was just made must not be relied upon. RabbitMQ keeps the names of its
// quorum queues in a table that it writes to disk half a second after the last change, without waiting. A
// broker that is killed before that comes back with a queue that has no leader for ever and forgets what was
// in it, though it was confirmed.
const settling = time.Second

// openToPublish is open for those who rely on confirmations: it returns once the queue has settled.
func (s *session) openToPublish(config *Config, queue string, setUp func(*amqp.Channel) error) (*amqp.Channel, error) {
	made, err := s.makes(queue)
	if err != nil {
		return nil, err
	}
	channel, err := s.open(config, queue, setUp)
	if err == nil && made {
		s.settle(config)
	}
	return channel, err
}

// makes tells whether there is no such queue yet.
func (s *session) makes(queue string) (bool, error) {
	channel, err := s.conn.Channel()
	if err != nil {
		return false, fmt.Errorf("open a channel: %w", err)
	}
	_, err = channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	if !channel.IsClosed() {
		_ = channel.Close()
	}
	refusal := new(amqp.Error)
	return errors.As(err, &refusal) && refusal.Code == amqp.NotFound, nil
}

// settle waits until what was made is written. Queues that the broker deletes after a while are not relied upon.
func (s *session) settle(config *Config) {
	if config.Expire > 0 {
		return
	}
	select {
	case <-time.After(settling):
	case <-s.ended:
	}
}

// open makes a channel with the queue declared, and has it set up further. A queue that is out of order can
// keep it waiting until the session ends, which is no reason to end it: the other queues may be well.
func (s *session) open(config *Config, queue string, setUp func(*amqp.Channel) error) (*amqp.Channel, error) {
	channel, err := s.conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	slow := time.AfterFunc(config.ConnectTimeout, func() {
		config.Logger.Warn("RabbitMQ has not answered for a queue; it may have no leader", "queue", queue,
			"waited", config.ConnectTimeout)
	})
	defer slow.Stop()
	err = s.declare(config, channel, queue)
	if boundsDiffer(err) {
		config.Logger.Warn("the queue keeps the bounds it was made with", "queue", queue, "err", err)
		if channel, err = s.conn.Channel(); err != nil { // the refusal has closed the first one
			return nil, fmt.Errorf("open a channel: %w", err)
		}
	}
	if err == nil {
		err = setUp(channel)
	}
	if err != nil {
		if !channel.IsClosed() {
			_ = channel.Close()
		}
		return nil, fmt.Errorf("queue %s: %w", queue, err)
	}
	return channel, nil
}

func (s *session) declare(config *Config, channel *amqp.Channel, queue string) error {
	version, _ := s.conn.Properties["version"].(string)
	if _, err := channel.QueueDeclare(queue, true, false, false, false, config.arguments(version)); err != nil {
		return fmt.Errorf("declare: %w", err)
	}
	return nil
}

// boundsDiffer tells whether a queue is there already and differs in its bounds alone, as after a change of
// the configuration. Everything else about a queue matters, and a different one is refused.
func boundsDiffer(err error) bool {
	var refusal *amqp.Error
	return errors.As(err, &refusal) && refusal.Code == amqp.PreconditionFailed &&
		strings.Contains(refusal.Reason, "inequivalent arg 'x-max-length")
}

// limit cuts the connection when the returned function is not called in time: the requests of the protocol
// have no time-out of their own.
func (s *session) limit(patience time.Duration) (met func()) {
	timer := time.AfterFunc(patience, s.cut)
	return func() { timer.Stop() }
}
