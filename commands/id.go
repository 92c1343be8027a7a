package commands

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// ID is a UUID: a command's id, the key under which it is remembered for ever, and the next ticket.
// Two values that RFC 9562 reserves are never a client's: the nil UUID is [None], the max UUID [Genesis].
type ID [16]byte

var (
	// None stands for "no id": a ticket that was not given, a head on which nothing has landed.
	None = ID{}
	// Genesis is the ticket of a stream on which nothing has happened yet; its text is "genesis".
	Genesis = ID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

const genesisText = "genesis"

// NewID makes a UUID of version 7 (RFC 9562 section 5.7, with the sub-millisecond fraction in rand_a),
// so that ids made one after another sort, and stay close together in an index.
func NewID() ID { return newIDAt(time.Now(), rand.Uint64()) }

func newIDAt(now time.Time, random uint64) ID {
	var id ID
	nanos := now.UnixNano()
	ms, rest := nanos/1e6, nanos%1e6
	binary.BigEndian.PutUint64(id[0:8], uint64(ms)<<16)
	fraction := uint16(rest * 4096 / 1e6)
	id[6] = 0x70 | byte(fraction>>8)
	id[7] = byte(fraction)
	binary.BigEndian.PutUint64(id[8:16], random)
	id[8] = 0x80 | id[8]&0x3f
	return id
}

// digits are the places of the digits of each byte in an id's text.
var digits = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// ParseID reads the canonical 36-character text of a UUID, in either case. The nil and the max UUID,
// which name nothing, are not accepted.
func ParseID[T string | []byte](text T) (ID, bool) {
	var id ID
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return None, false
	}
	for at, i := range digits {
		high, low := unhex[text[i]], unhex[text[i+1]]
		if high|low > 15 {
			return None, false
		}
		id[at] = high<<4 | low
	}
	if id == None || id == Genesis {
		return None, false
	}
	return id, true
}

// ParseTicket reads a ticket: a UUID or the word "genesis".
func ParseTicket[T string | []byte](text T) (ID, bool) {
	if string(text) == genesisText {
		return Genesis, true
	}
	return ParseID(text)
}

// AppendTo appends the id's text in lower case, "genesis" for [Genesis] and nothing for [None].
func (id ID) AppendTo(b []byte) []byte {
	switch id {
	case None:
		return b
	case Genesis:
		return append(b, genesisText...)
	}
	b = hex.AppendEncode(b, id[0:4])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[4:6])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[6:8])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[8:10])
	b = append(b, '-')
	return hex.AppendEncode(b, id[10:16])
}

// String is the text of [ID.AppendTo].
func (id ID) String() string { return string(id.AppendTo(make([]byte, 0, 36))) }

// MarshalText is the text of [ID.AppendTo], so that ids read well in logs and JSON.
func (id ID) MarshalText() ([]byte, error) { return id.AppendTo(make([]byte, 0, 36)), nil }

// UnmarshalText accepts what [ParseTicket] does, and the empty text for [None].
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = None
		return nil
	}
	parsed, ok := ParseTicket(text)
	if !ok {
		return &FormatError{What: "id", Value: string(text), Want: "a UUID or genesis"}
	}
	*id = parsed
	return nil
}

var unhex = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for i := range 10 {
		table['0'+i] = byte(i)
	}
	for i := range 6 {
		table['a'+i] = byte(10 + i)
		table['A'+i] = byte(10 + i)
	}
	return table
}()
