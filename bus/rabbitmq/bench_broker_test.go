package rabbitmq_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// How long the broker alone takes, with none of this package: 1,000 messages a second, published with confirms by the
// client library to quorum queues in turn, delivered to one connection and acknowledged 64 at a time. Nothing that goes
// through such queues is sooner; times are counted from when each message was due.
//
//	go test ./bus/rabbitmq -run '^$' -bench Broker -benchtime 10000x

func BenchmarkBroker1Queue(b *testing.B)   { benchBroker(b, 1) }
func BenchmarkBroker16Queues(b *testing.B) { benchBroker(b, 16) }

func benchBroker(b *testing.B, queues int) {
	b.Helper()
	const interval = time.Second / 1000
	config := rabbitmqtest.Config(b)
	name := func(n int) string { return fmt.Sprintf("%s.alone.%d", config.Prefix, n%queues) }

	in := dialBench(b, config.URL)
	arrived := make(chan amqp.Delivery, b.N)
	for n := range queues {
		channel, err := in.Channel()
		require.NoError(b, err)
		_, err = channel.QueueDeclare(name(n), true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
		require.NoError(b, err)
		b.Cleanup(func() { _, _ = channel.QueueDelete(name(n), false, false, false) })
		require.NoError(b, channel.Qos(512, 0, false))
		deliveries, err := channel.Consume(name(n), "", false, false, false, false, nil)
		require.NoError(b, err)
		go func() {
			for d := range deliveries {
				if arrived <- d; d.DeliveryTag%64 == 0 {
					_ = d.Ack(true)
				}
			}
		}()
	}
	out, err := dialBench(b, config.URL).Channel()
	require.NoError(b, err)
	require.NoError(b, out.Confirm(false))
	confirms := out.NotifyPublish(make(chan amqp.Confirmation, b.N))

	b.ResetTimer()
	start := time.Now()
	due := func(n uint64) time.Time { return start.Add(time.Duration(n) * interval) }
	lateness := func(next func() uint64) <-chan []time.Duration {
		all := make(chan []time.Duration, 1)
		go func() {
			late := make([]time.Duration, 0, b.N)
			for len(late) < b.N {
				late = append(late, time.Since(due(next())))
			}
			all <- late
		}()
		return all
	}
	confirmed := lateness(func() uint64 {
		c := <-confirms
		if !c.Ack {
			b.Error("a message was not confirmed")
		}
		return c.DeliveryTag - 1
	})
	delivered := lateness(func() uint64 { return binary.BigEndian.Uint64((<-arrived).Body) })
	for n := range b.N {
		time.Sleep(time.Until(due(uint64(n))))
		body := make([]byte, benchPayload)
		binary.BigEndian.PutUint64(body, uint64(n))
		require.NoError(b, out.Publish("", name(n), true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body}))
	}
	reportTimes(b, "confirmed", <-confirmed)
	reportTimes(b, "delivered", <-delivered)
}

func dialBench(b *testing.B, url string) *amqp.Connection {
	b.Helper()
	conn, err := amqp.Dial(url)
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

func reportTimes(b *testing.B, what string, times []time.Duration) {
	b.Helper()
	slices.Sort(times)
	for _, percent := range []int{50, 99} {
		b.ReportMetric(times[len(times)*percent/100].Seconds()*1000, fmt.Sprintf("%s-p%d-ms", what, percent))
	}
}
