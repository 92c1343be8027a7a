package inproc_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/inproc"
)

func TestPublishStopsAtTheFirstRefusalAndWaitsForTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := inproc.New(inproc.Config{MaxMessages: 2})
		defer b.Close()
		published := make(chan error, 1)
		go func() {
			published <- b.Publish(topicName, message.NewMessage("0", nil), message.NewMessage("1", nil),
				message.NewMessage("2", nil), message.NewMessage("3", nil))
		}()
		synctest.Wait()
		require.Empty(t, published, "two are taken and wait for their acknowledgement")

		messages, err := b.Subscribe(t.Context(), topicName)
		require.NoError(t, err)
		for _, uuid := range []string{"0", "1"} {
			m := <-messages
			require.Equal(t, uuid, m.UUID)
			m.Ack()
		}
		err = <-published
		require.ErrorIs(t, err, bus.ErrFull)
		require.EqualError(t, err, "publish message 3 of 4 to lane.0: lane is full")
		require.Empty(t, messages, "what follows a refused message is not published")
	})
}

func TestPublishGivesUpWaitingWithItsMessagesContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := inproc.New(inproc.Config{})
		defer b.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		err := b.Publish(topicName, message.NewMessageWithContext(ctx, "0", nil))

		require.ErrorIs(t, err, bus.ErrFateUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		messages, err := b.Subscribe(t.Context(), topicName)
		require.NoError(t, err)
		require.Equal(t, "0", (<-messages).UUID, "it is still under way")
	})
}

func TestQueueingConfirmsWhatNobodyHasReceived(t *testing.T) {
	t.Parallel()
	b := inproc.New(inproc.Config{MaxMessages: 1, Confirm: inproc.ConfirmQueued})
	require.NoError(t, b.Publish(topicName, message.NewMessage("0", nil)))
	require.ErrorIs(t, b.Publish(topicName, message.NewMessage("1", nil)), bus.ErrFull)
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Publish(topicName, message.NewMessage("2", nil)), bus.ErrClosed)
}

func TestDeliveredContextEndsWithItsDelivery(t *testing.T) {
	t.Parallel()
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		b := inproc.New(inproc.Config{})
		ctx, leave := context.WithCancel(context.WithValue(t.Context(), key{}, "of the subscription"))
		messages, err := b.Subscribe(ctx, topicName)
		require.NoError(t, err)
		for range 3 {
			b.PublishAsync(topicName, message.NewMessage("", nil), func(error) {})
		}
		nacked, acked, left := <-messages, <-messages, <-messages
		require.Equal(t, "of the subscription", nacked.Context().Value(key{}))

		nacked.Nack()
		synctest.Wait()
		require.ErrorIs(t, nacked.Context().Err(), context.Canceled)
		require.NoError(t, acked.Context().Err())
		acked.Ack()
		synctest.Wait()
		require.ErrorIs(t, acked.Context().Err(), context.Canceled)
		require.NoError(t, left.Context().Err())
		leave()
		require.ErrorIs(t, left.Context().Err(), context.Canceled)
		require.NoError(t, b.Close())
	})
}

func TestSubscribersOfATopicGetEvenShares(t *testing.T) {
	t.Parallel()
	b := inproc.New(inproc.Config{Prefetch: 8})
	first, err := b.Subscribe(t.Context(), topicName)
	require.NoError(t, err)
	second, err := b.Subscribe(t.Context(), topicName)
	require.NoError(t, err)
	for range 10 {
		b.PublishAsync(topicName, message.NewMessage("", nil), func(error) {})
	}
	require.Len(t, first, 5)
	require.Len(t, second, 5)
	require.NoError(t, b.Close())
}

// The sender's copy may be published again after a refusal, whatever became of its first delivery.
func TestDeliveryLeavesThePublishedMessageAlone(t *testing.T) {
	t.Parallel()
	b := inproc.New(inproc.Config{})
	messages, err := b.Subscribe(t.Context(), topicName)
	require.NoError(t, err)
	m := message.NewMessage("0", nil)
	for range 2 {
		confirmed := make(chan error, 1)
		b.PublishAsync(topicName, m, func(err error) { confirmed <- err })
		delivered := <-messages
		delivered.Metadata.Set("seen", "yes")
		require.True(t, delivered.Ack())
		require.NoError(t, <-confirmed)
	}
	require.Empty(t, m.Metadata)
	require.True(t, m.Nack(), "nobody settled it")
	require.NoError(t, b.Close())
}

func TestEveryBusClosesTwice(t *testing.T) {
	t.Parallel()
	b := inproc.New(inproc.Config{})
	require.NoError(t, errors.Join(b.Close(), b.Close()))
}
