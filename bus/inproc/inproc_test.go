package inproc_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ticketed/doorman/bus/bustest"
	"github.com/ticketed/doorman/bus/inproc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	bustest.Run(t, bustest.Suite{
		ConfirmsOnAck: true,
		Open: func(_ *testing.T, limits bustest.Limits) bustest.Bus {
			b := inproc.New(inproc.Config{MaxMessages: limits.Messages, Prefetch: limits.Prefetch})
			return bustest.Bus{Publisher: b, Subscriber: b}
		},
	})
}

func TestConformanceWhenQueueingConfirms(t *testing.T) {
	t.Parallel()
	bustest.Run(t, bustest.Suite{
		Open: func(_ *testing.T, limits bustest.Limits) bustest.Bus {
			b := inproc.New(inproc.Config{
				MaxMessages: limits.Messages, Prefetch: limits.Prefetch, Confirm: inproc.ConfirmQueued,
			})
			return bustest.Bus{Publisher: b, Subscriber: b}
		},
	})
}
