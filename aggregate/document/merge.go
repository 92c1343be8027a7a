package document

import (
	"bytes"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/internal/jsontext"
)

// merge appends what JSON Merge Patch (RFC 7396 section 2) makes of target, and tells whether that differs
// from target, as JSON, numbers by their literal. Both are compact JSON; target is nil where there is
// nothing yet.
//
// It works on the bytes. evanphx/json-patch decodes and encodes: members that are added come in another
// order every time, so that a replay would give other bytes; nulls inside arrays are dropped, which the
// RFC does not say; strings are escaped anew; and it takes more than ten times as long.
func merge(dst, target, patch []byte) (merged []byte, changed bool) {
	if patch[0] != '{' {
		return append(dst, patch...), !same(target, patch)
	}
	if len(target) == 0 || target[0] != '{' {
		target, changed = []byte("{}"), true
	}
	var room [8]change
	changes := changesOf(patch, room[:0])

	dst = append(dst, '{')
	first := len(dst)
	for r := jsontext.Read(target); r.Member(); {
		c := changes.find(r.Name(), r.Escaped())
		switch {
		case c == nil:
			dst = appendName(dst, first, r.Name())
			dst = append(dst, r.Value()...)
		case c.value[0] == 'n':
			c.done, changed = true, true
		default:
			var differs bool
			dst = appendName(dst, first, r.Name())
			dst, differs = merge(dst, r.Value(), c.value)
			c.done, changed = true, changed || differs
		}
	}
	for i := range changes.list {
		if c := &changes.list[i]; !c.done && c.value[0] != 'n' {
			dst = appendName(dst, first, c.name)
			dst, _ = merge(dst, nil, c.value)
			changed = true
		}
	}
	return append(dst, '}'), changed
}

// same is EqualJSON for a value that is no object. Nearly all of them are told apart by their bytes alone.
func same(target, value []byte) bool {
	if bytes.Equal(target, value) {
		return true
	}
	ambiguous := len(target) > 0 && target[0] == value[0] &&
		(value[0] == '[' || value[0] == '"' && (escaped(target) || escaped(value)))
	return ambiguous && aggregate.EqualJSON(target, value)
}

func escaped(text []byte) bool { return bytes.IndexByte(text, '\\') >= 0 }

func appendName(dst []byte, first int, name []byte) []byte {
	if len(dst) > first {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// change is one member of a patch.
type change struct {
	name, value []byte
	decoded     []byte // the name
	done        bool
}

// fewChanges are looked through one by one; more are found by a map.
const fewChanges = 16

type changes struct {
	list   []change
	byName map[string]int // nil for few; names decoded
}

func changesOf(patch []byte, room []change) changes {
	cs := changes{list: room}
	for r := jsontext.Read(patch); r.Member(); {
		c := change{name: r.Name(), decoded: r.Name(), value: r.Value()}
		if r.Escaped() {
			c.decoded = []byte(jsontext.Decode(c.name))
		}
		cs.list = append(cs.list, c)
	}
	if len(cs.list) > fewChanges {
		cs.byName = make(map[string]int, len(cs.list))
		for i := range cs.list {
			cs.byName[string(cs.list[i].decoded)] = i
		}
	}
	return cs
}

// find is the change to the member of that name, written as it stands in the target; nil for none.
func (cs *changes) find(name []byte, escaped bool) *change {
	if escaped {
		name = []byte(jsontext.Decode(name))
	}
	if cs.byName != nil {
		if i, ok := cs.byName[string(name)]; ok {
			return &cs.list[i]
		}
		return nil
	}
	for i := range cs.list {
		if bytes.Equal(cs.list[i].decoded, name) {
			return &cs.list[i]
		}
	}
	return nil
}
