package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/ticketed/doorman/commands"
)

// documentType is the one type whose states a file can be held against: what its commands do is a
// standard, RFC 7396, which is applied here a second time, independently of the server's code.
const documentType = "document"

// folds is what the documents of a file must come to: its lines applied in the order of the file.
type folds struct {
	byStream map[commands.Stream]*folded
	seen     map[commands.ID]struct{}
	others   map[commands.Stream]struct{} // streams of other types
}

type folded struct {
	version uint64
	state   any // as encoding/json decodes it, with json.Number
}

func newFolds() *folds {
	return &folds{byStream: map[commands.Stream]*folded{}, seen: map[commands.ID]struct{}{},
		others: map[commands.Stream]struct{}{}}
}

// take applies a line, unless it is not expected to land or has been there before.
func (f *folds) take(l *line) error {
	if _, again := f.seen[l.command.ID]; again || l.want != wantLanded {
		return nil
	}
	f.seen[l.command.ID] = struct{}{}
	if l.command.Stream.Type != documentType {
		f.others[l.command.Stream] = struct{}{}
		return nil
	}
	at := f.byStream[l.command.Stream]
	if at == nil {
		at = &folded{}
		f.byStream[l.command.Stream] = at
	}
	data, err := decodeNumbers(l.command.Data)
	if err != nil {
		return err
	}
	before, changed := at.state, true
	switch l.command.Type {
	case "create":
		at.state = data
	case "replace":
		at.state, changed = data, !reflect.DeepEqual(before, data)
	case "patch":
		at.state, changed = mergePatch(before, data)
	case "delete":
		at.state = nil
	default:
		return fmt.Errorf("line %d: %q is no command of a document", l.number, l.command.Type)
	}
	if changed {
		at.version++
	}
	return nil
}

// matches tells whether a document's state, as the server gives it, is what the file came to.
func (f *folded) matches(state []byte) (bool, error) {
	got, err := decodeNumbers(state)
	if err != nil {
		return false, err
	}
	return reflect.DeepEqual(got, f.state), nil
}

// mergePatch is the function of RFC 7396 section 2, and tells whether the result is another one. The
// target may be changed in place.
func mergePatch(target, patch any) (merged any, changed bool) {
	members, ok := patch.(map[string]any)
	if !ok {
		return patch, !reflect.DeepEqual(target, patch)
	}
	object, ok := target.(map[string]any)
	if !ok {
		object, changed = map[string]any{}, true
	}
	for name, value := range members {
		old, has := object[name]
		if value == nil {
			delete(object, name)
			changed = changed || has
			continue
		}
		now, differs := mergePatch(old, value)
		object[name] = now
		changed = changed || differs || !has
	}
	return object, changed
}

// decodeNumbers decodes JSON and keeps numbers as they were written; no text is null.
func decodeNumbers(text []byte) (any, error) {
	if len(text) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}
