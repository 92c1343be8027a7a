package rabbitmq_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

func TestOnlyUnusedQueuesAreDeleted(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.Topics = []string{bus.LaneTopic(0), bus.LaneTopic(1), bus.LaneTopic(2), bus.LaneTopic(3)} // the last one does not exist
	empty, full, consumed := config.Topics[0], config.Topics[1], config.Topics[2]
	publisher := openPublisher(t, config)
	subscriber := openSubscriber(t, config)
	for _, topic := range []string{empty, full, consumed} {
		require.NoError(t, publisher.Publish(topic, numbered(1), numbered(2)))
	}
	emptied, end := context.WithCancel(t.Context())
	messages, err := subscriber.Subscribe(emptied, empty)
	require.NoError(t, err)
	ackAll(take(t, messages, 2))
	end()
	held, err := subscriber.Subscribe(t.Context(), consumed)
	require.NoError(t, err)
	take(t, held, 2)

	require.EventuallyWithT(t, func(c *assert.CollectT) { // the broker takes note of a consumer's end in its own time
		left, err := rabbitmq.DeleteUnused(t.Context(), config)
		require.NoError(c, err)
		require.Equal(c, 2, left)
		used, err := rabbitmq.Used(t.Context(), config)
		require.NoError(c, err)
		require.Equal(c, 2, used)
		states, err := rabbitmq.Inspect(t.Context(), config)
		require.NoError(c, err)
		require.Equal(c, []rabbitmq.QueueState{
			{Topic: empty},
			{Topic: full, Exists: true, Messages: 2},
			{Topic: consumed, Exists: true, Consumers: 1},
			{Topic: config.Topics[3]},
		}, states)
	}, patience, blink)
}

// A broker says of a queue whose leader does not answer that it is empty.
func TestAQueueWhoseLeaderIsSilentIsNotDeleted(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.NewBroker(t)
	config := broker.Config()
	config.Topics = []string{topic}
	require.NoError(t, openPublisher(t, config).Publish(topic, numbered(1)))
	leader := func(do string) {
		t.Helper()
		queue := fmt.Sprintf("rabbit_misc:r(<<\"/\">>, queue, <<\"doorman.%s\">>)", topic)
		said := broker.Tell("eval", fmt.Sprintf("{ok, Q} = rabbit_amqqueue:lookup(%s), sys:%s(amqqueue:get_pid(Q)).", queue, do))
		require.Equal(t, "ok", strings.TrimSpace(said))
	}

	leader("suspend")
	states, err := rabbitmq.Inspect(t.Context(), config)
	require.NoError(t, err)
	require.Equal(t, []rabbitmq.QueueState{{Topic: topic, Exists: true}}, states, "what the broker says")
	asked := config
	asked.ConnectTimeout = 6 * time.Second
	_, err = rabbitmq.Used(t.Context(), asked)
	require.ErrorContains(t, err, "consume: ")
	_, err = rabbitmq.DeleteUnused(t.Context(), asked)
	require.ErrorContains(t, err, "consume: ")
	leader("resume")

	messages, err := openSubscriber(t, config).Subscribe(t.Context(), topic)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ackAll(take(t, messages, 1)))
}
