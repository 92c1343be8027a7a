package inproc_test

import (
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/inproc"
)

// One publisher with a window of messages under way, one consumer that acknowledges all it finds: the
// whole cost of a frame, from PublishAsync to its confirmation.
func BenchmarkFrame(b *testing.B) {
	queue := inproc.New(inproc.Config{})
	defer func() { require.NoError(b, queue.Close()) }()
	topic := bus.LaneTopic(0)
	frames, err := queue.Subscribe(b.Context(), topic)
	require.NoError(b, err)
	go func() {
		batch := make([]*message.Message, 0, inproc.DefaultPrefetch)
		for m := range frames {
			batch = append(batch[:0], m)
			for more := true; more; {
				select {
				case m := <-frames:
					batch = append(batch, m)
				default:
					more = false
				}
			}
			for _, m := range batch {
				m.Ack()
			}
		}
	}()
	window := make(chan struct{}, inproc.DefaultPrefetch)
	var confirmed sync.WaitGroup
	payload := make([]byte, 300)
	confirm := func(err error) {
		if err != nil {
			b.Error(err)
		}
		<-window
		confirmed.Done()
	}
	b.ReportAllocs()
	for b.Loop() {
		window <- struct{}{}
		confirmed.Add(1)
		queue.PublishAsync(topic, message.NewMessage("", payload), confirm)
	}
	confirmed.Wait()
}
