package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	amqp "github.com/rabbitmq/amqp091-go"
)

// claimTopic names the queue that says whose a prefix is.
const claimTopic = "epoch"

// ClaimedError says that the names of a prefix belong to another log.
type ClaimedError struct {
	Prefix string
	Queue  string // that says so
	Epoch  string // of the log they belong to; empty when the broker does not tell

	refusal *amqp.Error
}

func (e *ClaimedError) Error() string {
	whose := "another log"
	if e.Epoch != "" {
		whose += " (epoch " + e.Epoch + ")"
	}
	return fmt.Sprintf("the names there that begin with %s. belong to %s, as the queue %s says", e.Prefix, whose, e.Queue)
}

// Unwrap is the broker's refusal.
func (e *ClaimedError) Unwrap() error { return e.refusal }

// Claim makes all names of the configured prefix those of the log with this epoch, or finds that they are; when
// they are another log's it fails with a [ClaimedError]. Two deployments that differ in their stores alone would
// work off each other's commands. It gives up as [NewExchanges] does.
//
// The claim is the durable queue <prefix>.epoch, which takes no message: the broker compares the arguments of
// a queue when it is declared again, and the epoch is one of them. It holds until somebody deletes the queue.
//
// It is a classic queue, for which nothing has to settle. In a cluster it is at home on one node, and while
// that is away nobody can tell whose the names are: the claim is taken for one's own then, so that processes can
// be started while a node is away.
func Claim(ctx context.Context, config Config, epoch string) error {
	if err := config.Validate(); err != nil {
		return err
	}
	config = config.withDefaults()
	queue, err := config.queue(claimTopic)
	if err != nil {
		return err
	}
	l := newLink(&config, "claim", publishHeartbeat)
	l.greet = func(s *session) error { return s.claim(&config, queue, epoch) }
	if err := l.start(ctx); err != nil {
		return fmt.Errorf("claim the prefix: %w", err)
	}
	l.stop()
	return nil
}

func (s *session) claim(config *Config, queue, epoch string) error {
	channel, err := s.conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	_, err = channel.QueueDeclare(queue, true, false, false, false, config.claimArguments(epoch))
	return config.claimed(queue, err)
}

// claimArguments are those of the queue that claims a prefix. The two about dead letters are compared when it is
// declared again, and have no other effect: what the queue refuses is no dead letter.
func (c Config) claimArguments(epoch string) amqp.Table {
	args := amqp.Table{
		amqp.QueueTypeArg:           amqp.QueueTypeClassic, // a virtual host may have another default
		"x-dead-letter-exchange":    "",
		"x-dead-letter-routing-key": epoch,
		"x-max-length":              int64(0),
		"x-overflow":                "reject-publish",
	}
	if c.Expire > 0 {
		args["x-expires"] = c.Expire.Milliseconds()
	}
	return args
}

// otherClaim is how the broker says that a claim is another log's.
var otherClaim = regexp.MustCompile(`inequivalent arg 'x-dead-letter-routing-key'(?:.* but current is (?:the value )?'([^']*)')?`)

// claimed says what an answer to a claim means.
func (c Config) claimed(queue string, err error) error {
	if err == nil {
		return nil
	}
	if answer := new(amqp.Error); errors.As(err, &answer) {
		if answer.Code == amqp.NotFound { // what is declared is there, or is made
			c.Logger.Warn("whether the prefix is another log's cannot be told: the queue's node is away", "queue", queue, "err", err)
			return nil
		}
		found := otherClaim.FindStringSubmatch(answer.Reason)
		if answer.Code == amqp.PreconditionFailed && found != nil {
			return &ClaimedError{Prefix: c.Prefix, Queue: queue, Epoch: found[1], refusal: answer}
		}
	}
	return fmt.Errorf("queue %s: %w", queue, err)
}
