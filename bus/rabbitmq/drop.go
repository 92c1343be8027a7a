package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	"github.com/ticketed/doorman/bus"
)

// Drop removes the queues of the configured topics, with all that is in them, the exchanges that carry the
// prefix and the claim to it, of a deployment that is no more. What is not there is passed over.
func Drop(ctx context.Context, config Config) error {
	if err := config.Validate(); err != nil {
		return err
	}
	config = config.withDefaults()
	l := newLink(&config, "removal", publishHeartbeat)
	if err := l.start(ctx); err != nil {
		return err
	}
	defer l.stop()
	s, err := l.usable()
	if err != nil {
		return err
	}
	defer s.limit(config.ConnectTimeout)()
	channel, err := s.conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	var problems []error
	remove := func(topic string) {
		queue, err := config.queue(topic)
		if err == nil {
			_, err = channel.QueueDelete(queue, false, false, false)
		}
		problems = append(problems, err)
	}
	remove(CommandsExchange)
	remove(bus.DeadExchange)
	for _, topic := range config.Topics {
		remove(topic)
	}
	for _, exchange := range []string{tailExchange, bus.EventsExchange, bus.OutcomesExchange, bus.DeadExchange, CommandsExchange} {
		problems = append(problems, channel.ExchangeDelete(config.exchange(exchange), false, false))
	}
	remove(claimTopic) // last: until then no other log has the names
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove queues and exchanges of %s: %w", config.Prefix, err)
	}
	return nil
}
