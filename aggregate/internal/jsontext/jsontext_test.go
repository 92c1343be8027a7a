package jsontext_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/internal/jsontext"
)

func TestMembersAreReadAsTheyStand(t *testing.T) {
	t.Parallel()
	r := jsontext.Read([]byte(` { "a" : 1.0 ,"b\u0062": "x\"}," , "":{"c":[1,"]"]},"d":[] , "e":null}  `))
	var got []string
	for r.Member() {
		got = append(got, fmt.Sprintf("%s=%s %v", r.Name(), r.Value(), r.Escaped()))
	}
	require.Equal(t, []string{
		`a=1.0 false`, `b\u0062="x\"}," true`, `={"c":[1,"]"]} false`, `d=[] false`, `e=null false`,
	}, got)
}

func TestElementsAreReadAsTheyStand(t *testing.T) {
	t.Parallel()
	r := jsontext.Read([]byte(" [ 1 ,\"a\\\\\",\t[2,[3]],{\"b\":4},-1E+2,true]"))
	var got []string
	for r.Element() {
		got = append(got, string(r.Value()))
	}
	require.Equal(t, []string{`1`, `"a\\"`, `[2,[3]]`, `{"b":4}`, `-1E+2`, `true`}, got)
}

func TestNothingIsReadOfEmptyOnes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `[]`, ` { } `, ``, `{`, `[`} {
		r := jsontext.Read([]byte(text))
		require.False(t, r.Member(), text)
		require.False(t, r.Element(), text)
	}
}

func TestNamesAreDecoded(t *testing.T) {
	t.Parallel()
	require.Equal(t, "plain", jsontext.Decode([]byte(`plain`)))
	require.Equal(t, "a/\"é\U0001f600", jsontext.Decode([]byte(`\u0061\/\"é\ud83d\ude00`)))
}

// On a text that is JSON the walk sees what encoding/json sees; on any other it ends.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,{"b":"c\"}"}],"d":null}`, `[[],{},"",1e5]`, `{"a"`, `{"a":`, `["\`, `{"a":1,}`, `[}`, `{"x":]}`, `"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		walked := walk(text)
		var value any
		if json.Unmarshal(text, &value) == nil {
			require.Equal(t, count(text), walked)
		}
	})
}

// walk counts the values in a text.
func walk(text []byte) int {
	n := 1
	r := jsontext.Read(text)
	switch jsontext.Kind(text) {
	case '{':
		for r.Member() {
			n += walk(r.Value())
		}
	case '[':
		for r.Element() {
			n += walk(r.Value())
		}
	}
	return n
}

// count counts the values in a JSON text, every one of several members of one name.
func count(text []byte) int {
	var object ordered
	var array []json.RawMessage
	n := 1
	switch jsontext.Kind(text) {
	case '{':
		if json.Unmarshal(text, &object) == nil {
			for _, value := range object {
				n += count(value)
			}
		}
	case '[':
		if json.Unmarshal(text, &array) == nil {
			for _, value := range array {
				n += count(value)
			}
		}
	}
	return n
}

type ordered []json.RawMessage

func (o *ordered) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	_, _ = decoder.Token()
	for decoder.More() {
		if _, err := decoder.Token(); err != nil {
			return err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		*o = append(*o, value)
	}
	return nil
}
