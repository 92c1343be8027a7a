// Package rabbitmqtest gives tests a RabbitMQ: queues of their own on a broker that must be there, a proxy
// in front of it that breaks connections, and a broker of their own that may be stopped.
//
//	config := rabbitmqtest.Config(t)            // a fresh prefix on the shared broker
//	proxy := rabbitmqtest.NewProxy(t, config.URL)
//	config.URL = proxy.URL()                    // the same broker, over connections that can be cut
//
// The shared broker is the one that the environment variable DOORMAN_TEST_RABBITMQ_URL names, and
// amqp://guest:guest@127.0.0.1:5672 otherwise. A broker that does not answer fails the test: nothing is
// skipped in silence. It is nobody's to stop or to block.
package rabbitmqtest

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
)

// Variable names the environment variable with the broker's URL.
const Variable = "DOORMAN_TEST_RABBITMQ_URL"

const defaultURL = "amqp://guest:guest@127.0.0.1:5672" //nolint:gosec // every RabbitMQ comes with it

// expiry is after what time of disuse the broker deletes a test's queues, should the test not have come to
// it.
const expiry = 5 * time.Minute

// patience is how long a busy machine may take to do what is bound to be done.
const patience = time.Minute

// URL is the shared broker's.
func URL() string {
	if url := os.Getenv(Variable); url != "" {
		return url
	}
	return defaultURL
}

// Config names the shared broker and a prefix that nobody else uses. The end of the test deletes the queues
// of the lanes below 64, the exchanges and the claim; other queues under that prefix go after minutes of disuse.
func Config(t testing.TB) rabbitmq.Config {
	t.Helper()
	Connect(t) // so that a missing broker is told here, in words
	config := rabbitmq.Config{
		URL:    URL(),
		Prefix: "test_" + strings.ToLower(rand.Text()),
		Name:   t.Name()[:min(len(t.Name()), 100)],
		Expire: expiry,
		Logger: slog.New(slog.DiscardHandler),

		ConnectTimeout: patience, ConfirmTimeout: patience,
	}
	t.Cleanup(func() {
		const lanes = 64
		topics := []string{rabbitmq.CommandsExchange, bus.DeadExchange, "epoch"} // the last one is the claim to the prefix
		for i := range lanes {
			topics = append(topics, bus.LaneTopic(i))
		}
		DeleteQueues(t, config.Prefix, topics...)
		insist(t, func(channel *amqp.Channel) error {
			for _, name := range []string{bus.EventsExchange, bus.OutcomesExchange, rabbitmq.CommandsExchange, bus.DeadExchange, "tail"} {
				if err := channel.ExchangeDelete(config.Prefix+"."+name, false, false); err != nil {
					return fmt.Errorf("delete the exchange %s.%s: %w", config.Prefix, name, err)
				}
			}
			return nil
		})
	})
	return config
}

// DeleteQueues deletes queues whose names begin with a prefix and a dot, as those of topics do, whether or not they are
// there.
func DeleteQueues(t testing.TB, prefix string, names ...string) {
	t.Helper()
	insist(t, func(channel *amqp.Channel) error {
		for _, name := range names {
			if _, err := channel.QueueDelete(prefix+"."+name, false, false, false); err != nil {
				return fmt.Errorf("delete the queue %s.%s: %w", prefix, name, err)
			}
		}
		return nil
	})
}

// insist does something over a connection of its own until the broker has done it. The broker may say that it has an
// error of its own while a queue lets go of its reader, and end the connection with that.
func insist(t testing.TB, do func(*amqp.Channel) error) {
	t.Helper()
	for late := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // nothing tells from outside
		err := onChannel(do)
		if err == nil {
			return
		}
		if time.Now().After(late) {
			t.Errorf("something stays behind at RabbitMQ: %v", err)
			return
		}
	}
}

// dial connects so that a process that stands still for a while keeps its connection.
func dial() (*amqp.Connection, error) {
	return amqp.DialConfig(URL(), amqp.Config{Heartbeat: patience})
}

func onChannel(do func(*amqp.Channel) error) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	if err != nil {
		return err
	}
	return do(channel)
}

// Connect gives a connection of the test's own to the shared broker, to look behind the scenes with. The
// end of the test closes it.
func Connect(t testing.TB) *amqp.Connection {
	t.Helper()
	conn, err := dial()
	if err != nil {
		t.Fatalf("This test needs RabbitMQ, and none answers at the address in %s (by default %s): "+
			"run it with `make test`, which starts one. %v", Variable, defaultURL, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
