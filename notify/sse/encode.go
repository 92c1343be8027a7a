package sse

import (
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify/hub"
)

// appendDelivery appends what is told at once. The mark goes with the last message if that has a place in
// the log, or makes a block of its own; with a sign of life there is a comment too, for proxies that look
// at the bytes only.
func appendDelivery(b []byte, d *hub.Delivery) []byte {
	marked := d.Mark.Epoch != ""
	for i := range d.Messages {
		m := &d.Messages[i]
		b = append(append(b, "event: "...), m.Event...)
		b = append(append(b, "\ndata: "...), m.Data...)
		if marked && i == len(d.Messages)-1 && placed(m) {
			b = d.Mark.AppendTo(append(b, "\nid: "...))
			marked = false
		}
		b = append(b, "\n\n"...)
	}
	if d.Beat {
		b = append(b, ":\n"...)
	}
	if marked {
		b = append(d.Mark.AppendTo(append(b, "id: "...)), '\n')
	}
	if d.Beat || marked {
		b = append(b, '\n')
	}
	return b
}

// placed tells whether a message tells of something in the log; the others have no id of their own.
func placed(m *hub.Message) bool {
	return m.Event == commands.PushState || m.Event == commands.PushLanded || m.Event == commands.PushRejected
}
