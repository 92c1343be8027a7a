package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/commands"
)

// RFC 7396 appendix A, the whole table.
func TestMergeFollowsTheTableOfTheRFC(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		merged, changed := merge(nil, []byte(row.target), []byte(row.patch))
		require.Equal(t, row.want, string(merged), "%s patched by %s", row.target, row.patch)
		require.True(t, changed)
	}
}

func TestMergeKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ why, target, patch, want string }{
		{
			"literals of numbers stay",
			`{"a":1.0,"b":1e400}`, `{"c":12345678901234567890.10,"a":1.00}`,
			`{"a":1.00,"b":1e400,"c":12345678901234567890.10}`,
		},
		{
			"nothing is escaped or unescaped",
			`{"a":"<&\u00e9>"}`, "{\"b\":\"\\/<\u2028>\"}", "{\"a\":\"<&\\u00e9>\",\"b\":\"\\/<\u2028>\"}",
		},
		{"nulls in arrays are values", `{}`, `{"a":[null,{"b":null}]}`, `{"a":[null,{"b":null}]}`},
		{"nulls of the target stay", `{"a":{"b":null}}`, `{"a":{"c":1}}`, `{"a":{"b":null,"c":1}}`},
		{"a name is what it stands for", `{"a":1,"\u0062":2}`, `{"\u0061":null,"b":3}`, `{"\u0062":3}`},
		{"quotes and brackets in names", `{"}\"":{"]":1}}`, `{"}\"":{"]":2}}`, `{"}\"":{"]":2}}`},
		{"the empty name is a name", `{"":1}`, `{"":null}`, `{}`},
		{
			"members that are added come last, in the patch's order",
			`{"z":1}`, `{"y":1,"x":1,"z":2}`, `{"z":2,"y":1,"x":1}`,
		},
	} {
		merged, changed := merge(nil, []byte(row.target), []byte(row.patch))
		require.Equal(t, row.want, string(merged), row.why)
		require.True(t, changed, row.why)
	}
}

func TestMergeTellsWhetherAnythingChanged(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		target, patch string
		changed       bool
	}{
		{`{"a":1}`, `{}`, false},
		{`{"a":1}`, `{"a":1}`, false},
		{`{"a":1}`, `{"a":1.0}`, true},
		{`{"a":1}`, `{"b":null}`, false},
		{`{"a":null}`, `{"a":null}`, true},
		{`{"a":"\u0062"}`, `{"a":"b"}`, false},
		{`{"a":["\u0062",{"x":1,"y":2}]}`, `{"a":["b",{"y":2,"x":1}]}`, false},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, true},
		{`{"a":{"b":1}}`, `{"a":{}}`, false},
		{`{"a":{"b":1}}`, `{"a":{"b":1,"c":null}}`, false},
		{`{"a":[]}`, `{"a":{}}`, true},
		{`{"a":"{}"}`, `{"a":{}}`, true},
		{`{"a":true}`, `{"a":false}`, true},
	} {
		_, changed := merge(nil, []byte(row.target), []byte(row.patch))
		require.Equal(t, row.changed, changed, "%s patched by %s", row.target, row.patch)
	}
}

// Beyond a few members a patch is looked through by a map; both ways must agree.
func TestManyMembersMergeLikeFew(t *testing.T) {
	t.Parallel()
	for _, n := range []int{fewChanges, fewChanges + 1, 10 * fewChanges} {
		target, patch, want := make([]string, n), make([]string, n), make([]string, n)
		for i := range n {
			target[i] = fmt.Sprintf(`"k\u0030%d":%d`, i, i)
			patch[i] = fmt.Sprintf(`"k0%d":%d`, i, i+1)
			want[i] = fmt.Sprintf(`"k\u0030%d":%d`, i, i+1)
		}
		merged, changed := merge(nil, object(target), object(patch))
		require.Equal(t, string(object(want)), string(merged))
		require.True(t, changed)
	}
}

func object(members []string) []byte { return []byte("{" + strings.Join(members, ",") + "}") }

// A second implementation, as RFC 7396 section 2 has it, over decoded values.
func simpleMerge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged := map[string]any{}
	if members, ok := target.(map[string]any); ok {
		maps.Copy(merged, members)
	}
	for name, value := range changes {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = simpleMerge(merged[name], value)
		}
	}
	return merged
}

func TestMergeAgreesWithASimpleOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		target, patch := anyJSON(3).Draw(t, "target"), anyJSON(3).Draw(t, "patch")
		merged, changed := merge(nil, []byte(target), []byte(patch))
		want, err := json.Marshal(simpleMerge(decode(t, target), decode(t, patch)))
		require.NoError(t, err)
		require.True(t, commands.EqualJSON(want, merged), "want %s, got %s", want, merged)
		require.Equal(t, !commands.EqualJSON([]byte(target), merged), changed, "%s became %s", target, merged)
		require.NoError(t, commands.CheckJSON(merged, 100))

		var compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, merged))
		require.Equal(t, compact.String(), string(merged), "what is merged of compact texts is compact")
	})
}

func decode(t require.TestingT, text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	require.NoError(t, decoder.Decode(&value))
	return value
}

// anyJSON draws compact JSON with few names, so that patches meet members, some of them escaped.
func anyJSON(depth int) *rapid.Generator[string] {
	scalar := rapid.SampledFrom([]string{
		`null`, `true`, `false`, `0`, `-1`, `1.0`, `1`, `1e2`, `""`, `"a"`, `"\u0061"`, `"<\n\">"`, `"é"`, `{}`, `[]`,
	})
	if depth == 0 {
		return scalar
	}
	return rapid.OneOf(scalar, anyObject(depth), rapid.Custom(func(t *rapid.T) string {
		return "[" + strings.Join(rapid.SliceOfN(anyJSON(depth-1), 0, 3).Draw(t, "elements"), ",") + "]"
	}))
}

func anyObject(depth int) *rapid.Generator[string] {
	spellings := [][]string{
		{`a`, `\u0061`}, {`b`}, {`c`, `\u0063`}, {``}, {`}\"`, `\u007d\u0022`}, {`é`, `\u00e9`},
	}
	return rapid.Custom(func(t *rapid.T) string {
		which := rapid.SliceOfNDistinct(rapid.IntRange(0, len(spellings)-1), 0, 5, rapid.ID[int]).Draw(t, "names")
		members := make([]string, len(which))
		for i, w := range which {
			name := rapid.SampledFrom(spellings[w]).Draw(t, "name")
			members[i] = `"` + name + `":` + anyJSON(depth-1).Draw(t, "value")
		}
		return string(object(members))
	})
}

// Names are decoded once: to decode those of the patch for each member of a document took two seconds where that is
// large, in which nobody else's commands were judged.
func TestEscapedNamesAreDecodedOnce(t *testing.T) {
	document := `{"a":1`
	for i := range 2000 {
		document += fmt.Sprintf(`,"%d":1`, i)
	}
	patch := []byte(`{"\u0061":2,"\u0062":3,"c":4}`)
	merged, changed := merge(nil, []byte(document+"}"), patch)
	require.True(t, changed)
	require.True(t, strings.HasPrefix(string(merged), `{"a":2,"0":1,`))
	require.True(t, strings.HasSuffix(string(merged), `,"\u0062":3,"c":4}`))
	target, room := []byte(document+"}"), make([]byte, 0, 1<<20)
	require.Less(t, testing.AllocsPerRun(10, func() { merge(room, target, patch) }), 20.0)
}
