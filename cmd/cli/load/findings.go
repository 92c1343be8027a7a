package load

import (
	"fmt"

	"github.com/ticketed/doorman/commands"
)

// findings counts what is wrong, by kind, each with one example.
type findings struct {
	kinds []string
	of    map[string]*finding
}

type finding struct {
	count   int
	example commands.ID
}

func (f *findings) add(kind string, id commands.ID) {
	found := f.of[kind]
	if found == nil {
		if f.of == nil {
			f.of = map[string]*finding{}
		}
		found = &finding{example: id}
		f.of[kind] = found
		f.kinds = append(f.kinds, kind)
	}
	found.count++
}

func (f *findings) list() []string {
	list := make([]string, len(f.kinds))
	for i, kind := range f.kinds {
		list[i] = fmt.Sprintf("%d %s, e.g. %s", f.of[kind].count, kind, f.of[kind].example)
	}
	return list
}

// positions is the set of places in the log that outcomes were told at: a bit each, in pages, since they
// lie close together.
type positions struct {
	epoch string
	pages map[uint64]*[512]uint64
}

type place uint8

const (
	fresh place = iota
	taken
	unreadable
)

// take marks a place as used.
func (p *positions) take(text string) place {
	at, err := commands.ParsePosition(text)
	if err != nil || at.N == 0 || p.epoch != "" && at.Epoch != p.epoch {
		return unreadable
	}
	if p.epoch == "" {
		p.epoch, p.pages = at.Epoch, map[uint64]*[512]uint64{}
	}
	page := p.pages[at.N>>15]
	if page == nil {
		page = new([512]uint64)
		p.pages[at.N>>15] = page
	}
	word, bit := &page[at.N>>6&511], uint64(1)<<(at.N&63)
	if *word&bit != 0 {
		return taken
	}
	*word |= bit
	return fresh
}
