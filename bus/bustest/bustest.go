// Package bustest says whether a bus keeps the promises of package bus: one suite, run over every
// implementation.
//
//	func TestConformance(t *testing.T) {
//		bustest.Run(t, bustest.Suite{
//			ConfirmsOnAck: true,
//			Open: func(t *testing.T, limits bustest.Limits) bustest.Bus {
//				b := inproc.New(inproc.Config{MaxMessages: limits.Messages, Prefetch: limits.Prefetch})
//				return bustest.Bus{Publisher: b, Subscriber: b}
//			},
//		})
//	}
//
// It complements Watermill's own suite, which knows nothing of several messages under way, of bounds, or
// of confirmations. It waits for signals only; what should never happen is looked for after something
// that would have come later.
package bustest

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/bus"
)

// patience is how long the suite waits for what must happen.
const patience = 2 * time.Minute

// Lanes is how many lane topics (bus.LaneTopic of 0 to Lanes-1) each bus under test must have.
const Lanes = 4

// Bus is a publisher and a subscriber that see the same topics. They may be one value.
type Bus struct {
	Publisher  bus.Publisher
	Subscriber message.Subscriber
}

// Limits are the bounds a test asks for.
type Limits struct {
	Messages int // of a topic, not acknowledged yet
	Prefetch int // of a subscription, not acknowledged yet
}

// Suite describes the bus under test.
type Suite struct {
	// Open makes a fresh bus whose topics are empty and unknown to every other. The suite closes both
	// ends; what else Open made it cleans up itself with t.Cleanup.
	Open func(t *testing.T, limits Limits) Bus

	// ConfirmsOnAck: a message is confirmed when a subscriber has acknowledged it. Otherwise it is
	// confirmed once the bus has it safe, whether or not anybody subscribes.
	ConfirmsOnAck bool
	// NackLosesOrder: a nacked message comes back behind messages that were handed over after it.
	NackLosesOrder bool
	// FullIsUnavailable: a topic over its bound may be told as bus.ErrUnavailable, because the bus cannot
	// tell the two apart. Nothing was accepted either way.
	FullIsUnavailable bool
	// BoundSlack is by how many messages a topic may go over its bound.
	BoundSlack int
}

// Run runs the whole suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*testing.T, Suite)
	}{
		{"a message arrives as it was published", arrivesWhole},
		{"topics keep their order while others are busy", keepsOrderPerTopic},
		{"ten thousand messages arrive once each", losesNothing},
		{"messages wait for a subscriber", waitsForSubscriber},
		{"subscribers of one topic share its messages", sharesTopic},
		{"messages are delivered unacknowledged up to the prefetch", deliversUpToPrefetch},
		{"acknowledgements may come in any order", takesAcksInAnyOrder},
		{"a nacked message is delivered until it is acknowledged", redeliversNacked},
		{"nacked messages keep their order", keepsOrderOfNacked},
		{"what a subscriber left behind goes to the next in order", returnsUnacked},
		{"a message is confirmed when it is safe", confirmsWhenSafe},
		{"Publish takes several messages in order", publishesSeveral},
		{"a full topic refuses at once and recovers", refusesWhenFull},
		{"a closed bus refuses", refusesWhenClosed},
		{"closing tells the fate of every message", tellsFateOnClose},
		{"every message is answered once while the bus closes", answersOnceWhileClosing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, s)
		})
	}
}
