// Package bus carries accepted commands from gateways to the workers that hold their lanes.
//
// A lane is one topic of a Watermill publisher and subscriber ([LaneTopic]). A message on it is a frame:
// commands of that lane that arrived together (package bus/frame), or an operator's order about one. The [Sender] is the gateway's end: it
// coalesces commands into frames and tells each of them when its frame is durable.
//
//	sender, err := bus.NewSender(publisher, bus.SenderConfig{Lanes: 16})
//	sender.Send(&env, func(err error) { ... })                 // gateway: nil means answer 202
//
//	frames, err := subscriber.Subscribe(ctx, bus.LaneTopic(3)) // worker
//	m := <-frames
//	envs, err := frame.Decode(m.Payload)                       // judge and commit them, then
//	m.Ack()
//
// A program that ends closes the sender first, while workers still work, then stops the workers, then
// closes the bus: so everything that was taken is answered for.
//
// # What a bus promises
//
// A message is confirmed once it is durable: in process, when the worker has committed it; on a broker,
// when the broker has it on disk. It is delivered at least once until it is acknowledged, to one of the
// topic's subscribers; other than Watermill's subscribers usually do, several may be under way to a
// subscriber before it acknowledges the first. Messages of one topic handed over one after another arrive
// in that order as long as nothing fails; order is an optimisation, correctness rests on tickets. One whose
// context has ended when it is read went back meanwhile, perhaps past others: it comes again and is to be
// passed over. Every queue is bounded: a full one answers [ErrFull]. Package bustest says whether an
// implementation keeps this; there is one in memory (package inproc).
package bus

import (
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

var (
	// ErrUnavailable: the bus cannot be reached; nothing was accepted.
	ErrUnavailable = errors.New("bus is unavailable")
	// ErrFull: the lane's queue is full; nothing was accepted.
	ErrFull = errors.New("lane is full")
	// ErrFateUnknown: it was handed over, but no confirmation came.
	ErrFateUnknown = errors.New("fate of the message is unknown")
	// ErrClosed: the bus has been closed; nothing was accepted.
	ErrClosed = errors.New("bus is closed")
)

// Publisher is a Watermill publisher that can have several messages under way.
type Publisher interface {
	message.Publisher

	// PublishAsync hands one message over and returns without waiting for it, or for room. done is
	// called exactly once, from any goroutine and possibly before PublishAsync returns, with nil when
	// the message is durable and an error that matches one of those above otherwise; it must not
	// block. Messages handed over one after another on one topic keep their order. A message must not
	// be changed after it was handed over, nor its payload ever: whoever receives it may keep it.
	PublishAsync(topic string, m *message.Message, done func(error))
}

// DeliveriesKey is the metadata key under which a broker tells how often a message was delivered before and
// came back: a decimal number above 0, and nothing at the first delivery. It is a lower bound, and a broker
// that does not count says 1. Nobody publishes it.
const DeliveriesKey = "deliveries"

// ViaKey is the metadata key of the gateway that made a frame (SenderConfig.Via), so that it can be told at once
// what its commands come to.
const ViaKey = "via"

// LaneTopic names the topic of a lane.
func LaneTopic(lane int) string { return fmt.Sprintf("lane.%d", lane) }
