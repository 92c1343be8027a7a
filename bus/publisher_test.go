package bus_test

import (
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// publisher keeps what is handed over until the test answers it, or refuses everything at once.
type publisher struct {
	refuse error
	before func() // called before a frame is taken

	mu   sync.Mutex
	held []handed
}

type handed struct {
	topic    string
	commands []commands.Envelope
	done     func(error) // nil once answered
}

var _ bus.Publisher = (*publisher)(nil)

func (p *publisher) PublishAsync(topic string, m *message.Message, done func(error)) {
	if p.before != nil {
		p.before()
	}
	envs, err := frame.Decode(m.Payload)
	if err != nil {
		panic(err)
	}
	if m.UUID != envs[0].ID.String() {
		panic("a frame is named after its first command")
	}
	p.mu.Lock()
	h := handed{topic: topic, commands: envs}
	if p.refuse == nil {
		h.done = done
	}
	p.held = append(p.held, h)
	p.mu.Unlock()
	if p.refuse != nil {
		done(p.refuse)
	}
}

func (p *publisher) Publish(string, ...*message.Message) error { panic("the sender never waits") }
func (p *publisher) Close() error                              { return nil }

// answer tells the fate of the frame that was handed over as the nth.
func (p *publisher) answer(n int, err error) {
	p.mu.Lock()
	done := p.held[n].done
	p.held[n].done = nil
	p.mu.Unlock()
	done(err)
}

// open are the frames that have no answer yet.
func (p *publisher) open() (list []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, h := range p.held {
		if h.done != nil {
			list = append(list, n)
		}
	}
	return list
}

func (p *publisher) answerAll(err error) {
	for _, n := range p.open() {
		p.answer(n, err)
	}
}

func (p *publisher) topic(n int) string { return p.held[n].topic }

// frames are the command types of each frame, in the order they were handed over.
func (p *publisher) frames() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]string, len(p.held))
	for i, h := range p.held {
		types := make([]string, len(h.commands))
		for j := range h.commands {
			types[j] = h.commands[j].Type
		}
		list[i] = strings.Join(types, " ")
	}
	return list
}
