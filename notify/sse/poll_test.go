package sse

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify/hub"
)

func delivery(items, size int, mark uint64) *hub.Delivery {
	d := &hub.Delivery{}
	for range items {
		d.Messages = append(d.Messages, hub.Message{Event: commands.PushState, Data: bytes.Repeat([]byte("1"), size)})
	}
	if mark > 0 {
		d.Mark = commands.Position{Epoch: "E", N: mark}
	}
	return d
}

// DESIGN section 5, promise 12: one answer of a long poll is bounded; what it holds is whole up to its mark.
func TestALongPollEndsWithAMarkOnceThereIsEnough(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ items, bytes, deliveries int }{{100, 10, 10}, {10, 30_000, 4}} {
		s := &gathered{room: &room{}, some: make(chan struct{}), ended: make(chan struct{})}
		var err error
		n := uint64(0)
		for err == nil {
			n++
			if _, err = s.Put(delivery(size.items, size.bytes, 0)); err != nil {
				break
			}
			require.Equal(t, int(n-1)*2*size.items, s.count(), "without a mark nothing is whole")
			_, err = s.Put(delivery(size.items, size.bytes, n))
		}
		require.ErrorIs(t, err, errEnough)
		require.EqualValues(t, size.deliveries/2, n)
		require.Equal(t, size.deliveries*size.items, s.count())
		require.Contains(t, string(s.answer()[:40]), `"after":"E-`)
	}
}

// A command that is parked still is told at every opening. A poll that goes on from an earlier answer waits all
// the same, or it would be asked again at once, thousands of times.
func TestALongPollThatGoesOnWaitsThoughSomethingIsParked(t *testing.T) {
	t.Parallel()
	parked := &hub.Delivery{Messages: []hub.Message{{Event: commands.PushParked, Data: []byte("{}")}, {Event: commands.PushRefused, Data: []byte("{}")}},
		Mark: commands.Position{Epoch: "E", N: 1}}
	answers := func(resumed, live bool) bool {
		s := &gathered{room: &room{}, resumed: resumed, some: make(chan struct{}), ended: make(chan struct{})}
		if live {
			s.goLive()
		}
		_, err := s.Put(parked)
		require.NoError(t, err)
		require.Equal(t, 2, s.count(), "it is in the answer")
		select {
		case <-s.some:
			return true
		default:
			return false
		}
	}
	require.True(t, answers(false, false), "the first answer")
	require.False(t, answers(true, false), "told before")
	require.True(t, answers(true, true), "it has just happened")
}

func TestAcceptIsReadWithItsWeights(t *testing.T) {
	t.Parallel()
	for accept, streamed := range map[string]bool{
		"": true, "*/*": true, "text/event-stream": true, "text/*": true, "application/json": false,
		"application/json, */*": false, "text/event-stream;q=0, application/json": false,
		"application/json;q=0.5, text/event-stream;q=0.1": true, "*/*;q=0": false,
	} {
		var header []string
		if accept != "" {
			header = []string{accept}
		}
		require.Equal(t, streamed, takesStream(header), accept)
	}
}
