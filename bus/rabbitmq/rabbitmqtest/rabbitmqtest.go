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
	}
	t.Cleanup(func() {
		const lanes = 64
		topics := []string{rabbitmq.CommandsExchange, bus.DeadExchange, "epoch"} // the last one is the claim to the prefix
		for i := range lanes {
			topics = append(topics, bus.LaneTopic(i))
		}
		DeleteQueues(t, config, topics...)
		deleteExchanges(t, config)
	})
	return config
}

func deleteExchanges(t testing.TB, config rabbitmq.Config) {
	t.Helper()
	conn, err := amqp.Dial(config.URL)
	if err != nil {
		t.Errorf("exchanges of %s stay behind: %v", config.Prefix, err)
		return
	}
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	for _, name := range []string{bus.EventsExchange, bus.OutcomesExchange, rabbitmq.CommandsExchange, "dead", "tail"} {
		if err == nil {
			err = channel.ExchangeDelete(config.Prefix+"."+name, false, false)
		}
	}
	if err != nil {
		t.Errorf("exchanges of %s stay behind: %v", config.Prefix, err)
	}
}

// DeleteQueues deletes the queues of topics, whether or not they are there.
func DeleteQueues(t testing.TB, config rabbitmq.Config, topics ...string) {
	t.Helper()
	conn, err := amqp.Dial(config.URL)
	if err != nil {
		t.Errorf("queues of %s stay behind: %v", config.Prefix, err)
		return
	}
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	if err != nil {
		t.Errorf("queues of %s stay behind: %v", config.Prefix, err)
		return
	}
	for _, topic := range topics {
		if _, err := channel.QueueDelete(config.Prefix+"."+topic, false, false, false); err != nil {
			t.Errorf("the queue of %s under %s stays behind: %v", topic, config.Prefix, err)
			return
		}
	}
}

// Connect gives a connection of the test's own to the shared broker, to look behind the scenes with. The
// end of the test closes it.
func Connect(t testing.TB) *amqp.Connection {
	t.Helper()
	conn, err := amqp.Dial(URL())
	if err != nil {
		t.Fatalf("This test needs RabbitMQ, and none answers at the address in %s (by default %s): "+
			"run it with `make test`, which starts one. %v", Variable, defaultURL, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
