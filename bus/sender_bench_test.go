package bus_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/bus/inproc"
	"github.com/ticketed/doorman/commands"
)

// The way of a command from Send to its confirmation, with a consumer that does what a worker does with
// frames: it takes all that is there on all lanes, decodes it and acknowledges it as one batch. Nothing is
// judged or stored, so ns/op is what the bus costs.

const benchLanes = 16

func BenchmarkSendFrom512Senders(b *testing.B) {
	const senders = 512
	sender, frames := startBench(b)
	envs := benchCommands(senders)
	var left atomic.Int64
	left.Store(int64(b.N))
	var done sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range senders {
		done.Go(func() {
			answer := make(chan error, 1)
			tell := func(err error) { answer <- err }
			for left.Add(-1) >= 0 {
				sender.Send(&envs[i], tell)
				if err := <-answer; err != nil {
					b.Error(err)
				}
			}
		})
	}
	done.Wait()
	b.ReportMetric(float64(b.N)/float64(frames.Load()), "commands/frame")
}

func BenchmarkSendAllArraysOf64(b *testing.B) {
	const size = 64
	sender, frames := startBench(b)
	envs := benchCommands(size)
	array := make([]*commands.Envelope, size)
	for i := range array {
		array[i] = &envs[i]
	}
	var done sync.WaitGroup
	tell := func(_ int, err error) {
		if err != nil {
			b.Error(err)
		}
		done.Done()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += size {
		done.Add(size)
		sender.SendAll(array, tell)
		done.Wait()
	}
	b.ReportMetric(float64(b.N)/float64(frames.Load()), "commands/frame")
}

func startBench(b *testing.B) (*bus.Sender, *atomic.Int64) {
	queue := inproc.New(inproc.Config{})
	sender, err := bus.NewSender(queue, bus.SenderConfig{Lanes: benchLanes})
	require.NoError(b, err)
	incoming := make(chan *message.Message, benchLanes*inproc.DefaultPrefetch)
	var forwarding, consuming sync.WaitGroup
	for lane := range benchLanes {
		messages, err := queue.Subscribe(b.Context(), bus.LaneTopic(lane))
		require.NoError(b, err)
		forwarding.Go(func() {
			for m := range messages {
				incoming <- m
			}
		})
	}
	frames := new(atomic.Int64)
	consuming.Go(func() { consumeInBatches(b, incoming, frames) })
	b.Cleanup(func() {
		require.NoError(b, sender.Close(context.Background()))
		require.NoError(b, queue.Close())
		forwarding.Wait()
		close(incoming)
		consuming.Wait()
	})
	return sender, frames
}

func consumeInBatches(b *testing.B, incoming <-chan *message.Message, frames *atomic.Int64) {
	var batch []*message.Message
	for m := range incoming {
		batch = append(batch[:0], m)
		for more := true; more; {
			select {
			case m, more = <-incoming:
				if more {
					batch = append(batch, m)
				}
			default:
				more = false
			}
		}
		for _, m := range batch {
			if _, err := frame.Decode(m.Payload); err != nil {
				b.Error(err)
			}
		}
		frames.Add(int64(len(batch)))
		for _, m := range batch {
			m.Ack()
		}
	}
}

func benchCommands(n int) []commands.Envelope {
	envs := make([]commands.Envelope, n)
	for i := range envs {
		envs[i] = commands.Seal(commands.Command{
			ID:      commands.NewID(),
			Stream:  commands.Stream{Type: "order", ID: strconv.Itoa(i)},
			Type:    "add_line",
			Ticket:  commands.NewID(),
			Session: "tab-9f3",
			Actor:   "Ann",
			Data:    []byte(`{"sku":"A1","qty":2}`),
		}, time.Now())
	}
	return envs
}
