package rabbitmq_test

import (
	"context"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

func TestAPrefixIsClaimedForOneLog(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	require.NoError(t, rabbitmq.Claim(t.Context(), config, "a1b2"))
	require.NoError(t, rabbitmq.Claim(t.Context(), config, "a1b2"), "again, as each process does when it starts")

	began := time.Now()
	err := rabbitmq.Claim(t.Context(), config, "c3d4")
	claimed := new(rabbitmq.ClaimedError)
	require.ErrorAs(t, err, &claimed)
	require.Equal(t, "a1b2", claimed.Epoch)
	require.EqualError(t, err, "claim the prefix: the names there that begin with "+config.Prefix+". belong to another log "+
		"(epoch a1b2), as the queue "+config.Prefix+".epoch says")
	require.NotErrorIs(t, err, context.DeadlineExceeded, "who waits for a broker does not wait for this")
	require.Less(t, time.Since(began), rabbitmq.DefaultConnectTimeout)

	require.NoError(t, rabbitmq.Claim(t.Context(), rabbitmqtest.Config(t), "c3d4"), "another prefix")
	require.NoError(t, rabbitmq.Claim(t.Context(), config, "a1b2"), "it is as it was")
	require.NoError(t, rabbitmq.Drop(t.Context(), config))
	require.NoError(t, rabbitmq.Claim(t.Context(), config, "c3d4"), "nobody's any more")
}

func TestOfManyThatClaimAPrefixAtOnceOneLogGetsIt(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	epochs := []string{"a", "b", "a", "b", "a", "b"}
	told := make([]error, len(epochs))
	var claims sync.WaitGroup
	for i, epoch := range epochs {
		claims.Go(func() { told[i] = rabbitmq.Claim(t.Context(), config, epoch) })
	}
	claims.Wait()
	for i := range epochs {
		require.Equal(t, told[i%2] == nil, told[i] == nil, "%v", told)
	}
	require.NotEqual(t, told[0] == nil, told[1] == nil, "%v", told)
}

func TestAClaimKeepsNoMessages(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	require.NoError(t, rabbitmq.Claim(t.Context(), config, "a1b2"))
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	require.NoError(t, channel.Confirm(false))
	confirmed, err := channel.PublishWithDeferredConfirmWithContext(t.Context(), "", config.Prefix+".epoch", false, false, amqp.Publishing{})
	require.NoError(t, err)
	taken, err := confirmed.WaitContext(t.Context())
	require.NoError(t, err)
	require.False(t, taken)
	_, some, err := channel.Get(config.Prefix+".epoch", true)
	require.NoError(t, err)
	require.False(t, some)
}

func TestAClaimWaitsForABrokerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL()
	proxy.Refuse(true)
	patient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, rabbitmq.Claim(patient, config, "a1b2"), context.DeadlineExceeded)
	proxy.Refuse(false)
	require.NoError(t, rabbitmq.Claim(t.Context(), config, "a1b2"))
}
