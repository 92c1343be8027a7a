package rabbitmq

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"time"
)

const (
	// inletBuffer is what is read with one word to the system. The library by itself reads 4 KiB.
	inletBuffer = 64 << 10
	// keptBody is what is kept of a message's body, in bytes.
	keptBody = 1 << 20
	// keptTable is the largest table of headers that is handed on.
	keptTable = 16 << 10
	// messageCost is what a message counts besides its body, for its headers and properties.
	messageCost = 2 << 10

	frameHeader = 7 // type, channel, size
	// mostFrame is the largest frame that is looked into: more than any broker agrees on for headers.
	mostFrame = 4 << 20
)

// The types of frames that matter here, and the byte at their end.
const (
	methodFrame    = 1
	contentFrame   = 2
	bodyFrame      = 3
	heartbeatFrame = 8
	frameEnd       = 0xce
)

// inlet is the socket of a connection over which messages come that anybody may have made. It sees what the broker
// says before the library does, and sees to what that leaves to chance:
//
//   - a message is handed on when there is room for it in the purse of whoever consumes; until then nothing is read;
//   - of a body no more than keptBody is handed on, so that a large one takes no memory;
//   - headers that the library cannot read, which would end the connection whenever they come, are replaced by those
//     that matter.
//
// What was left out is told in headers of its own.
type inlet struct {
	net.Conn
	in *bufio.Reader

	out  []byte // to be handed on before anything else
	pass int    // bytes that follow in the stream and are handed on as they are
	skip int    // bytes that follow then and are not
	raw  bool   // it is not the protocol any more: all is handed on as it is

	frame    []byte             // scratch
	contents map[uint16]content // by channel, whose bodies are coming
	frameMax int                // agreed with the broker; 0: none
	keep     uint64             // keptBody
	purse    *purse
	patience time.Duration // for the broker to say something after it was not listened to
}

// content is a body on its way: how much of it is to come, and how much of that is handed on.
type content struct{ left, keep uint64 }

func newInlet(conn net.Conn, p *purse, patience time.Duration) *inlet {
	return &inlet{Conn: conn, in: bufio.NewReaderSize(conn, inletBuffer), contents: map[uint16]content{}, keep: keptBody,
		purse: p, patience: patience}
}

// Close is net.Conn's. Who waits for room waits no more.
func (i *inlet) Close() error {
	i.purse.shut()
	return i.Conn.Close()
}

// Read is net.Conn's: it hands on what is there. Whatever may have to wait it does not begin before all that came
// earlier is handed on.
func (i *inlet) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		took := 0
		switch {
		case len(i.out) > 0:
			took = copy(p[n:], i.out)
			i.out = i.out[took:]
		case n > 0 && (i.raw || i.in.Buffered() < frameHeader):
			return n, nil
		case i.raw:
			took, err = i.in.Read(p)
		case i.pass > 0:
			took, err = i.in.Read(p[n:min(len(p), n+i.pass)])
			i.pass -= took
		case i.skip > 0:
			took, err = i.in.Discard(i.skip)
			i.skip -= took
			took = 0
		default:
			var later bool
			if later, err = i.next(n == 0); later {
				return n, nil
			}
		}
		n += took
	}
	if n > 0 {
		err = nil // it is met again
	}
	return n, err
}

// next looks at the frame that follows, and says what is to be handed on of it. When it must be read whole and may
// not wait now, it is for later.
func (i *inlet) next(mayWait bool) (later bool, err error) {
	head, err := i.in.Peek(frameHeader)
	if err != nil {
		return false, err
	}
	kind, channel, size := head[0], binary.BigEndian.Uint16(head[1:]), int(binary.BigEndian.Uint32(head[3:]))
	whole := frameHeader + size + 1
	switch {
	case kind < methodFrame || kind > heartbeatFrame || size > mostFrame: // the library says what it thinks of that
		i.raw = true
		return false, nil
	case kind == bodyFrame && i.keeps(channel, size):
	case kind == bodyFrame, kind == contentFrame, kind == methodFrame && channel == 0:
		if !mayWait {
			return true, nil
		}
		return false, i.take(kind, channel, size)
	}
	i.pass = whole
	return false, nil
}

// take sees to a frame that is not handed on as it is, or has to be looked into.
func (i *inlet) take(kind byte, channel uint16, size int) error {
	if kind == bodyFrame {
		return i.cut(channel, size)
	}
	whole := frameHeader + size + 1
	if cap(i.frame) < whole {
		i.frame = make([]byte, whole)
	}
	frame := i.frame[:whole]
	if _, err := io.ReadFull(i.in, frame); err != nil {
		return err
	}
	i.out = frame
	if kind == methodFrame {
		i.method(frame[frameHeader : whole-1])
		return nil
	}
	return i.content(channel, frame)
}

// method learns how large frames may be.
func (i *inlet) method(payload []byte) {
	const connection, tune = 10, 30
	if len(payload) >= 10 && binary.BigEndian.Uint16(payload) == connection && binary.BigEndian.Uint16(payload[2:]) == tune {
		i.frameMax = int(binary.BigEndian.Uint32(payload[6:]))
	}
}

// content takes a message's properties, and waits until there is room for the message.
func (i *inlet) content(channel uint16, frame []byte) error {
	size, ok := bodySize(frame)
	if !ok {
		return nil
	}
	kept := min(size, i.keep)
	waited, wanted := i.purse.take(int64(kept))
	if !wanted {
		kept = 0
	}
	if i.out = strain(frame, size, kept, i.frameMax); size > 0 {
		i.contents[channel] = content{left: size, keep: kept}
	}
	if waited { // the library's own limit may have passed while it was not its turn
		return i.SetReadDeadline(time.Now().Add(i.patience))
	}
	return nil
}

// keeps tells whether a frame of a body is handed on whole, and takes it into account then.
func (i *inlet) keeps(channel uint16, size int) bool {
	c, known := i.contents[channel]
	if !known {
		return true
	}
	if uint64(size) > c.keep {
		return false
	}
	c.keep -= uint64(size)
	i.came(channel, c, size)
	return true
}

// cut hands on as much of a body's frame as is kept of the body.
func (i *inlet) cut(channel uint16, size int) error {
	c := i.contents[channel]
	kept := int(c.keep) //nolint:gosec // at most keptBody
	c.keep = 0
	i.came(channel, c, size)
	if kept == 0 {
		i.skip = frameHeader + size + 1
		return nil
	}
	frame := append(i.frame[:0], bodyFrame)
	frame = binary.BigEndian.AppendUint16(frame, channel)
	frame = binary.BigEndian.AppendUint32(frame, uint32(kept)) //nolint:gosec // as above
	frame = append(frame, make([]byte, kept)...)
	if _, err := i.in.Discard(frameHeader); err != nil { // it was looked at
		return err
	}
	if _, err := io.ReadFull(i.in, frame[frameHeader:]); err != nil {
		return err
	}
	i.frame = append(frame, frameEnd)
	i.out, i.skip = i.frame, size-kept+1
	return nil
}

// came counts what has come of a body, and forgets it at its end.
func (i *inlet) came(channel uint16, c content, size int) {
	if c.left -= min(c.left, uint64(size)); c.left == 0 {
		delete(i.contents, channel)
		return
	}
	i.contents[channel] = c
}
