package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/bus/inproc"
	"github.com/ticketed/doorman/commands"
)

func framed(n int) (payload []byte, sent []commands.Envelope) {
	for i := range n {
		sent = append(sent, commands.Seal(commands.Command{ID: commands.NewID(), Type: "add", Ticket: commands.Genesis,
			Stream: commands.Stream{Type: "order", ID: strconv.Itoa(i)}}, time.Now().UTC().Truncate(time.Microsecond)))
		if i%4 == 3 { // about the one before it
			sent[i] = commands.RejectOrder(sent[i-1].ID, sent[i-1].Stream, "Olga", "a mistake", time.Now())
		}
		payload = frame.Append(payload, &sent[i])
	}
	return payload, sent
}

func TestALateFrameIsSentOnToTheLanesThatItsStreamsAreOnNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, now := inproc.New(inproc.Config{}), inproc.New(inproc.Config{})
		var away atomic.Bool
		away.Store(true)
		guarded := bus.Guarded(now, func() error {
			if away.Load() {
				return errors.New("not now")
			}
			return nil
		})
		sender, err := bus.NewSender(guarded, bus.SenderConfig{Lanes: 3})
		require.NoError(t, err)
		ctx, end := context.WithCancel(t.Context())
		f := bus.Forwarder{From: old, To: sender, Raw: now, Log: slog.New(slog.DiscardHandler)}
		ended := make(chan error, 1)
		go func() { ended <- f.Forward(ctx, bus.LaneTopic(7)) }()
		synctest.Wait()

		payload, sent := framed(20)
		confirmed := make(chan error, 2)
		old.PublishAsync(bus.LaneTopic(7), message.NewMessage("late", payload), func(err error) { confirmed <- err })
		time.Sleep(time.Minute)
		require.Empty(t, confirmed, "it is kept while nothing can be sent")
		away.Store(false)

		var mu sync.Mutex
		got := map[commands.ID]int{}
		orders := 0
		for lane := range 3 {
			messages, err := now.Subscribe(ctx, bus.LaneTopic(lane))
			require.NoError(t, err)
			go func() {
				for m := range messages {
					envelopes, err := frame.Decode(m.Payload)
					mu.Lock()
					if err != nil && (lane != 0 || string(m.Payload) != "no frame") {
						t.Errorf("%q on lane %d", m.Payload, lane)
					}
					for i := range envelopes {
						if envelopes[i].Stream.Lane(3) == lane {
							got[envelopes[i].ID]++
						}
						if envelopes[i].Order == commands.OrderReject {
							orders++
						}
					}
					mu.Unlock()
					m.Ack()
				}
			}()
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		require.NoError(t, <-confirmed)
		require.Len(t, got, len(sent))
		require.Equal(t, len(sent)/4, orders, "an order is still one")
		for _, n := range got {
			require.Equal(t, 1, n)
		}

		old.PublishAsync(bus.LaneTopic(7), message.NewMessage("unreadable", []byte("no frame")), func(err error) { confirmed <- err })
		require.NoError(t, <-confirmed)
		end()
		require.NoError(t, <-ended)
		require.NoError(t, sender.Close(t.Context()))
		require.NoError(t, old.Close())
		require.NoError(t, now.Close())
	})
}

func TestAGuardedPublisherHandsNothingOverThatIsNotAllowed(t *testing.T) {
	t.Parallel()
	b := inproc.New(inproc.Config{})
	frozen := errors.New("the process was frozen")
	guarded := bus.Guarded(b, func() error { return frozen })
	answer := make(chan error, 1)
	payload, _ := framed(1)
	guarded.PublishAsync(bus.LaneTopic(0), message.NewMessage("m", payload), func(err error) { answer <- err })
	err := <-answer
	require.ErrorIs(t, err, bus.ErrUnavailable)
	require.ErrorIs(t, err, frozen)
	require.NoError(t, b.Close())
}
