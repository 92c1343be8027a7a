// Package document is the aggregate type for whoever needs no rules: a stream holds one JSON object,
// which is created, patched by RFC 7396, replaced and deleted.
//
//	{"stream":"document/7","type":"create","ticket":"genesis","data":{"title":"Draft","tags":["a"]}}
//	{"stream":"document/7","type":"patch","ticket":"…","data":{"title":"Report","tags":null}}
//
// The state is the document itself, null while there is none. It is kept as the bytes it came in: number
// literals, escapes and the order of members stay as they were sent, members that a patch adds come last.
// A change that changes nothing, by equality as JSON with numbers by their literal, lands without an
// event. All four policies are allowed.
//
// A document is always an object. RFC 7396 lets a patch that is no object replace the whole document;
// here such a patch is invalid, because a client that sends one has nearly always made a mistake, and
// whoever means it has replace.
package document

import (
	"encoding/json"
	"sync"

	"github.com/ticketed/doorman/aggregate"
)

// MaxSize is how large a document may grow, in bytes of JSON. A command's data is bounded where it is
// taken, but patches add up.
const MaxSize = 1 << 20

// The codes of refusals.
const (
	AlreadyExists = "already_exists" // create, and there is a document
	DoesNotExist  = "does_not_exist" // any other command, and there is none: not yet, or not any more
	TooLarge      = "too_large"      // a patch that would make it larger than MaxSize
)

// Document is the state: a JSON object, or null while there is none.
type Document struct{ json.RawMessage }

// Event is what happens to a document: [Created], [Patched], [Replaced] or [Deleted].
type Event interface{ event() }

// The events. The data of each but Deleted is that of its command, made compact.
type (
	Created  struct{ json.RawMessage } // the whole document
	Patched  struct{ json.RawMessage } // a merge patch
	Replaced struct{ json.RawMessage } // the whole document
	Deleted  struct{}
)

func (Created) event()  {}
func (Patched) event()  {}
func (Replaced) event() {}
func (Deleted) event()  {}

// Type is the aggregate type "document".
func Type() *aggregate.Typed[Document, Event] { return built() }

var built = sync.OnceValue(func() *aggregate.Typed[Document, Event] {
	t := aggregate.Define[Event]("document", Document{}, aggregate.Settings{
		Policies: []aggregate.Policy{aggregate.PolicyStrict, aggregate.PolicySession, aggregate.PolicyAny},
	})
	object := aggregate.Schema(`{"type":"object"}`)

	aggregate.Handle(t, "create", Document.Create, object,
		aggregate.Doc("Creates the document; there must be none."),
		aggregate.Example(`{"title":"Draft","tags":["a","b"]}`))
	aggregate.Handle(t, "patch", Document.Patch, object,
		aggregate.Doc("Changes members by JSON Merge Patch (RFC 7396): null removes one."),
		aggregate.Example(`{"title":"Report","tags":null}`))
	aggregate.Handle(t, "replace", Document.Replace, object,
		aggregate.Doc("Puts another document in its place."),
		aggregate.Example(`{"title":"Final"}`))
	aggregate.Handle(t, "delete", Document.Delete,
		aggregate.Doc("Deletes the document; it can be created again."),
		aggregate.Schema(`{"type":"object","additionalProperties":false}`),
		aggregate.Example(`{}`))

	aggregate.On(t, "created", func(_ Document, e Created) Document { return Document(e) })
	aggregate.On(t, "patched", Document.patched)
	aggregate.On(t, "replaced", func(_ Document, e Replaced) Document { return Document(e) })
	aggregate.On(t, "deleted", func(Document, Deleted) Document { return Document{} })
	return t.MustBuild()
})

func (d Document) exists() bool { return len(d.RawMessage) > 0 && d.RawMessage[0] == '{' }

func (d Document) refuseMissing() error {
	if d.exists() {
		return nil
	}
	return aggregate.Refuse(DoesNotExist, "there is no document here; create one first")
}

// Create judges the command create.
func (d Document) Create(object json.RawMessage) ([]Event, error) {
	if d.exists() {
		return nil, aggregate.Refuse(AlreadyExists, "there is a document here already; patch or replace it")
	}
	return []Event{Created{object}}, nil
}

// Patch judges the command patch.
func (d Document) Patch(patch json.RawMessage) ([]Event, error) {
	if err := d.refuseMissing(); err != nil {
		return nil, err
	}
	scratch, _ := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	merged, changed := merge((*scratch)[:0], d.RawMessage, patch)
	*scratch = merged
	switch {
	case !changed:
		return nil, nil
	case len(merged) > MaxSize && len(merged) > len(d.RawMessage):
		return nil, aggregate.Refuse(TooLarge, "the document would be %d bytes; %d are allowed", len(merged), MaxSize)
	}
	return []Event{Patched{patch}}, nil
}

// scratches hold what a patch would make, while only its size and whether it changes anything matter.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

func (d Document) patched(e Patched) Document {
	merged, _ := merge(make([]byte, 0, len(d.RawMessage)+len(e.RawMessage)), d.RawMessage, e.RawMessage)
	return Document{merged}
}

// Replace judges the command replace.
func (d Document) Replace(object json.RawMessage) ([]Event, error) {
	switch err := d.refuseMissing(); {
	case err != nil:
		return nil, err
	case aggregate.EqualJSON(d.RawMessage, object):
		return nil, nil
	}
	return []Event{Replaced{object}}, nil
}

// Delete judges the command delete.
func (d Document) Delete(struct{}) ([]Event, error) {
	if err := d.refuseMissing(); err != nil {
		return nil, err
	}
	return []Event{Deleted{}}, nil
}
