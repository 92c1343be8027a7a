package rabbitmq

import (
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// The bounds of the queue for dead letters, beyond which the oldest go: there they are for those who come later and
// look, and the store has them all the same.
const (
	graveMessages = 100_000
	graveBytes    = 1 << 30
)

// dig makes the queue <prefix>.dead, which keeps what comes to the exchange of that name though nobody listens. Nothing
// else waits for it: a queue without a leader keeps whoever declares it waiting for ever.
func (e *Exchanges) dig(s *session) {
	defer close(s.grave)
	name := e.config.exchange(bus.DeadExchange)
	made, err := s.makes(name)
	var channel *amqp.Channel
	if err == nil {
		channel, err = s.conn.Channel()
	}
	if err == nil {
		_, err = channel.QueueDeclare(name, true, false, false, false, e.config.graveArguments())
	}
	if refused := new(amqp.Error); errors.As(err, &refused) && refused.Code == amqp.PreconditionFailed {
		// Somebody has made it to his own liking. The refusal has closed the channel.
		channel, err = s.conn.Channel()
	}
	if err == nil && made {
		s.settle(&e.config)
	}
	if err == nil {
		err = channel.QueueBind(name, "#", name, false, nil)
	}
	if err == nil {
		err = channel.Close()
	}
	if err != nil && e.link.ctx.Err() == nil && !s.conn.IsClosed() {
		e.config.Logger.Warn("there is no queue for dead letters; they are in the store", "queue", name, "err", err)
	}
}

func (c Config) graveArguments() amqp.Table {
	args := amqp.Table{
		amqp.QueueTypeArg:    amqp.QueueTypeQuorum,
		"x-max-length":       int64(graveMessages),
		"x-max-length-bytes": int64(graveBytes),
		"x-overflow":         "drop-head",
	}
	if c.Expire > 0 {
		args["x-expires"] = c.Expire.Milliseconds()
	}
	return args
}
