package rabbitmq_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// Watermill's own suite for publishers and subscribers. What of it does not apply:
//
//   - TestNoAck wants nothing delivered while one message is unacknowledged: that is a prefetch of one. It
//     runs with that, and is left out where the default prefetch is under test.
//   - TestConsumerGroups: a topic is one work queue, there are no groups.
//   - TestNewSubscriberReceivesOldMessages: what has been acknowledged is gone.
//   - TestReconnect compares what arrived with what it has noted as published, which it does not wait for
//     and reads without a lock. TestNothingConfirmedIsLostWhenConnectionsBreak stands in for it.
//
// The suite runs once promising exactly-once delivery, which holds while nobody nacks or leaves and makes
// it strict about repeats, and once without and with many messages in hand, which adds its tests of leaving
// and coming back.

func TestWatermillSuiteWithoutRepeats(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.Prefetch = 1
	tests.TestPubSub(t, tests.Features{
		ExactlyOnceDelivery: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true, Persistent: true,
	}, clientsOf(config), nil)
}

func TestWatermillSuiteWithManyUnacknowledged(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	features := tests.Features{Persistent: true} // a guaranteed order would bring TestNoAck with it
	tests.TestPubSub(t, features, clientsOf(config), nil)

	t.Run("TestPublishSubscribeInOrder", func(t *testing.T) {
		t.Parallel()
		features.GuaranteedOrder, features.GuaranteedOrderWithSingleSubscriber = true, true
		tests.TestPublishSubscribeInOrder(t, tests.TestContext{TestID: tests.NewTestID(), Features: features},
			clientsOf(rabbitmqtest.Config(t)))
	})
}

// clientsOf gives the constructor of clients. The suite does not close all that it opens.
func clientsOf(config rabbitmq.Config) tests.PubSubConstructor {
	config.MaxMessages = 20_000
	return func(t *testing.T) (message.Publisher, message.Subscriber) {
		b := openBus(t, config)
		return b.Publisher, b.Subscriber
	}
}
