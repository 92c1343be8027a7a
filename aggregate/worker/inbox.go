package worker

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// arrival is one frame from the bus. It is acknowledged when all its commands are committed.
type arrival struct {
	message  *message.Message
	lane     int
	came     time.Time
	commands []commands.Envelope
	left     int   // commands not judged yet
	broken   error // the frame could not be read
	returns  int   // how often it has come back, as far as the bus says
	returned bool  // to the bus, before all of it was judged
}

// item is one command on its way through the worker.
type item struct {
	env  *commands.Envelope
	from *arrival
}

// inbox gathers the frames of all lanes. Its size is bounded by what the bus hands out unacknowledged.
type inbox struct {
	mu       sync.Mutex
	arrivals []*arrival
	ready    chan struct{} // holds a token when there are arrivals
}

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

func (in *inbox) put(a *arrival) {
	in.mu.Lock()
	in.arrivals = append(in.arrivals, a)
	in.mu.Unlock()
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// take hands over everything that is there; the slice given becomes the inbox's next one.
func (in *inbox) take(reuse []*arrival) []*arrival {
	clear(reuse)
	in.mu.Lock()
	all := in.arrivals
	in.arrivals = reuse[:0]
	in.mu.Unlock()
	return all
}

// receive moves one lane's frames into the inbox until its channel closes.
func (in *inbox) receive(ctx context.Context, lane int, messages <-chan *message.Message) {
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			envelopes, err := frame.Decode(m.Payload)
			if via := m.Metadata.Get(bus.ViaKey); via != "" {
				for i := range envelopes {
					envelopes[i].Via = via
				}
			}
			in.put(&arrival{message: m, lane: lane, came: time.Now(), commands: envelopes, left: len(envelopes), broken: err,
				returns: returnsOf(m.Metadata)})
		}
	}
}
