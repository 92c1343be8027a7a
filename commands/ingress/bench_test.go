package ingress_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
)

type counted struct {
	message commands.Message
	n       *int
}

func (c *counted) Message() *commands.Message { return &c.message }
func (c *counted) Settle()                    { *c.n++ }
func (c *counted) Lost() bool                 { return false }

// BenchmarkTake is what it costs to read and check messages of one command each, 64 at a time.
func BenchmarkTake(b *testing.B) {
	w := newWorld(b)
	w.Metrics = nil
	w.SendAll = func(envs []*commands.Envelope, done func(int, error)) {
		for i := range envs {
			done(i, nil)
		}
	}
	in, err := ingress.New(w.Config)
	require.NoError(b, err)
	body := []byte(`{"id":"` + first + `","stream":"order/42","type":"add_line","ticket":"` + second +
		`","session":"tab-9f3","actor":"Ann","data":{"sku":"A1","qty":2}}`)
	settled := 0
	batch := make([]ingress.Delivery, 64)
	for i := range batch {
		batch[i] = &counted{commands.Message{Body: body, Size: len(body), ContentType: "application/json", ReplyTo: "a", CorrelationID: "b"}, &settled}
	}
	b.ReportAllocs()
	for b.Loop() {
		in.Take(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(settled), "ns/message")
}
