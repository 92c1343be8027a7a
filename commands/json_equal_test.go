package commands_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/commands"
)

func TestEqualJSON(t *testing.T) {
	t.Parallel()
	for _, pair := range []struct {
		a, b  string
		equal bool
	}{
		{`{"a":1,"b":[true,null]}`, ` { "b" : [ true , null ] , "a" : 1 } `, true},
		{`"é/😀"`, `"\u00e9\/\ud83d\ude00"`, true},
		{`{"\u0061":{}}`, `{"a":{ }}`, true},
		{`[[],{}]`, `[ [ ] , { } ]`, true},
		{`1`, `1.0`, false}, // numbers are equal by literal
		{`100`, `1e2`, false},
		{`0`, `-0`, false},
		{`9007199254740993`, `9007199254740992`, false}, // beyond what a double holds
		{`1`, `"1"`, false},
		{`null`, `false`, false},
		{`{}`, `[]`, false},
		{`{}`, `null`, false},
		{`[1,2]`, `[2,1]`, false},
		{`[1]`, `[1,1]`, false},
		{`[[1],2]`, `[[1,2]]`, false},
		{`{"a":1}`, `{"a":1,"b":1}`, false},
		{`{"a":1}`, `{"A":1}`, false},
		{`{"a":{"b":1}}`, `{"a":{"b":2}}`, false},
		{`"a"`, `"a "`, false},
		{`{"a":1,"a":2}`, ` {"a":1,"a":2}`, false}, // no I-JSON
		{`{"a":1,"a":2}`, `{"a":1,"a":2}`, true},
		{`nope`, `nope `, false},
		{``, ` `, false},
	} {
		require.Equal(t, pair.equal, commands.EqualJSON([]byte(pair.a), []byte(pair.b)), "%s and %s", pair.a, pair.b)
		require.Equal(t, pair.equal, commands.EqualJSON([]byte(pair.b), []byte(pair.a)), "%s and %s", pair.b, pair.a)
	}
}

// equalSlowly is the simple second implementation: encoding/json's idea of both, compared by reflection.
func equalSlowly(t require.TestingT, a, b []byte) bool {
	var values [2]any
	for i, text := range [][]byte{a, b} {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		require.NoError(t, decoder.Decode(&values[i]))
		_, err := decoder.Token()
		require.ErrorIs(t, err, io.EOF)
	}
	return reflect.DeepEqual(values[0], values[1])
}

// drawValue draws from few enough texts that equal values are met often.
func drawValue(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.SampledFrom([]json.Number{"0", "1", "1.0", "-0", "1e2"}), func(n json.Number) any { return n }),
		rapid.Map(rapid.SampledFrom([]string{"", "a", "é", "😀", "\n", `"\`}), func(s string) any { return s }),
	)
	if depth == 0 {
		return scalar
	}
	inner := drawValue(depth - 1)
	names := rapid.SampledFrom([]string{"", "a", "b", "ab", "é", "x/y", "😀"})
	return rapid.OneOf(scalar,
		rapid.Map(rapid.SliceOfN(inner, 0, 3), func(v []any) any { return v }),
		rapid.Map(rapid.MapOfN(names, inner, 0, 4), func(v map[string]any) any { return v }),
	)
}

// write writes a value with random member order, white space and escapes.
func write(b *strings.Builder, value any, random *rand.Rand) {
	pause := func() { b.WriteString([]string{"", "", " ", "\n\t"}[random.IntN(4)]) }
	text := func(s string) {
		b.WriteByte('"')
		for _, r := range s {
			if r < 0x20 || r == '"' || r == '\\' || r < 0x10000 && random.IntN(3) == 0 {
				fmt.Fprintf(b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
		b.WriteByte('"')
	}
	pause()
	switch v := value.(type) {
	case string:
		text(v)
	case []any:
		b.WriteByte('[')
		for i, element := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			write(b, element, random)
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		first := true
		for name, member := range v { // in an order that Go makes random
			if !first {
				b.WriteByte(',')
			}
			first = false
			pause()
			text(name)
			pause()
			b.WriteByte(':')
			write(b, member, random)
		}
		b.WriteByte('}')
	case nil:
		b.WriteString("null")
	default:
		fmt.Fprint(b, v) // numbers and booleans
	}
	pause()
}

func TestEqualJSONAgreesWithASimpleImplementation(t *testing.T) {
	t.Parallel()
	equal := 0
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		first := drawValue(2).Draw(t, "first")
		second := first
		if rapid.Bool().Draw(t, "different") {
			second = drawValue(2).Draw(t, "second")
		}
		var a, b strings.Builder
		write(&a, first, random)
		write(&b, second, random)
		want := equalSlowly(t, []byte(a.String()), []byte(b.String()))
		if want {
			equal++
		}
		require.Equal(t, want, commands.EqualJSON([]byte(a.String()), []byte(b.String())), "%s and %s", &a, &b)
	})
	require.Positive(t, equal)
}

func TestCheckJSONCountsDepth(t *testing.T) {
	t.Parallel()
	require.NoError(t, commands.CheckJSON([]byte(` [[1]] `), 2))
	require.ErrorContains(t, commands.CheckJSON([]byte(`[[1]]`), 1), "nested deeper than 1 (/0, at byte 1)")
	require.Error(t, commands.CheckJSON([]byte("\xef\xbb\xbf1"), 1))
	require.Error(t, commands.CheckJSON([]byte(`1 2`), 1))
	deep := []byte(strings.Repeat("[", 1001) + strings.Repeat("]", 1001))
	require.False(t, commands.EqualJSON(deep, append([]byte(" "), deep...)), "beyond the bound only itself is equal")
}

func FuzzEqualJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,"\u00e9"]}`), []byte(`{ "a" : [1,"é"] }`))
	f.Add([]byte(`{"a":1,"b":2}`), []byte(`{"b":2,"a":1}`))
	f.Add([]byte(`[[],{}]`), []byte(`[[[]]]`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		got := commands.EqualJSON(a, b)
		require.Equal(t, got, commands.EqualJSON(b, a))
		if commands.CheckJSON(a, 100) == nil && commands.CheckJSON(b, 100) == nil {
			require.Equal(t, equalSlowly(t, a, b), got)
		}
	})
}
