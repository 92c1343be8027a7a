package commands_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

const (
	someID     = "0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1"
	someTicket = "0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77"
)

func mustID(tb testing.TB, text string) commands.ID {
	tb.Helper()
	id, ok := commands.ParseTicket(text)
	require.True(tb, ok, text)
	return id
}

func decode(t *testing.T, body string) commands.Request {
	t.Helper()
	request, err := commands.DecodeRequest([]byte(body), commands.DefaultBodyLimits)
	require.NoError(t, err)
	return request
}

func TestDecodeReadsEveryMember(t *testing.T) {
	t.Parallel()
	request := decode(t, ` {"id":"`+strings.ToUpper(someID)+`", "stream":"order/42","type":"add_line",
		"ticket":"`+someTicket+`","policy":"strict","session":"tab-9f3","actor":"Ann \u00c5 \"\ud83d\ude00\"",
		"data": {"qty": 1.50, "b":[ 1,2 ]} } `)
	require.False(t, request.Array)
	require.Len(t, request.Items, 1)
	item := request.Items[0]
	require.Nil(t, item.Err)
	require.Equal(t, commands.Command{
		ID:     mustID(t, someID),
		Stream: commands.Stream{Type: "order", ID: "42"}, Type: "add_line",
		Ticket: mustID(t, someTicket), Policy: commands.PolicyStrict,
		Session: "tab-9f3", Actor: "Ann Å \"😀\"", Data: []byte(`{"qty": 1.50, "b":[ 1,2 ]}`),
	}, item.Command)
	require.True(t, item.Members.Has(commands.MemberID|commands.MemberTicket|commands.MemberPolicy|commands.MemberData))
}

func TestDecodeTellsWhatWasLeftOut(t *testing.T) {
	t.Parallel()
	item := decode(t, `{"stream":"order/42","type":"submit"}`).Items[0]
	require.Nil(t, item.Err)
	require.Equal(t, commands.MemberStream|commands.MemberType, item.Members)
	require.Equal(t, commands.Command{Stream: commands.Stream{Type: "order", ID: "42"}, Type: "submit"}, item.Command)
}

func TestDataMayBeAnyValueAndKeepsItsBytes(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`null`, `true`, `false`, `0`, `-0`, `1E400`, `1.10`, `9007199254740993`, `"a\u0000\u00e9"`, `""`, `[]`, `{}`,
		`{ "a" : 1 }`, `{"a":1,"A":2}`, `{"":{"":[]}}`, `"\ud83d\ude00"`,
	} {
		item := decode(t, `{"stream":"order/42","type":"x","data": `+data+"\n}").Items[0]
		require.Nil(t, item.Err, data)
		require.Equal(t, data, string(item.Command.Data))
	}
}

func TestDataCannotGrowIntoTheBody(t *testing.T) {
	t.Parallel()
	body := `{"data":[1],"stream":"order/42","type":"x"}`
	item := decode(t, body).Items[0]
	_ = append(item.Command.Data, "XXXX"...)
	require.Equal(t, "order/42", item.Command.Stream.String())
}

func TestNamesAreComparedDecoded(t *testing.T) {
	t.Parallel()
	item := decode(t, `{"\u0073tream":"order\/4\u0032","t\u0079pe":"x",`+
		`"\u0069d":"\u0030197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1"}`).Items[0]
	require.Nil(t, item.Err)
	require.Equal(t, "order/42", item.Command.Stream.String())
	require.Equal(t, mustID(t, someID), item.Command.ID)
}

func TestAnArrayRefusesOneItemAndNotItsNeighbours(t *testing.T) {
	t.Parallel()
	request := decode(t, `[{"stream":"order/1","type":"a"}, {"stream":"order","type":"b","id":"`+someID+`"} , 7,
		{"stream":"order/4","type":"d","data":{"a":1,"\u0061":2}}, {"stream":"order/5","type":"e"}]`)
	require.True(t, request.Array)
	require.Len(t, request.Items, 5)
	require.Nil(t, request.Items[0].Err)
	require.Nil(t, request.Items[4].Err)
	require.Equal(t, "e", request.Items[4].Command.Type)

	require.Equal(t, "/1/stream", request.Items[1].Err.Pointer)
	require.Equal(t, mustID(t, someID), request.Items[1].Command.ID, "a refused item's id is known")
	require.Equal(t, "/2", request.Items[2].Err.Pointer)
	require.Equal(t, "/3/data/a", request.Items[3].Err.Pointer)
}

// refusal is a body and what is answered to it: @ in the body marks the place and is taken out.
type refusal struct{ name, body, pointer, detail string }

func (r refusal) check(t *testing.T, tell func(body string) error) {
	t.Helper()
	offset := strings.IndexByte(r.body, '@')
	require.GreaterOrEqual(t, offset, 0, "the place is not marked")
	body := strings.Replace(r.body, "@", "", 1)
	var malformed *commands.MalformedError
	require.ErrorAs(t, tell(body), &malformed, body)
	require.Contains(t, malformed.Detail, r.detail)
	require.Equal(t, r.pointer, malformed.Pointer, malformed.Detail)
	require.Equal(t, offset, malformed.Offset, malformed.Detail)
	require.Equal(t, commands.Malformed, malformed.Code)
}

// What is no JSON text (RFC 8259), or nested too deep, is refused whole.
func TestBodiesRefusedWhole(t *testing.T) {
	t.Parallel()
	const head = `{"stream":"order/42","type":"x","data":`
	for _, r := range []refusal{
		{"empty body", `@`, "", "a value was expected"},
		{"white space only", ` @`, "", "a value was expected"},
		{"byte order mark, RFC 8259 section 8.1", "@\xef\xbb\xbf{}", "", "byte order mark"},
		{"a number", ` @42`, "", "this is a number"},
		{"a string", `@"x"`, "", "this is a string"},
		{"null", `@null`, "", "this is null"},
		{"no JSON", `@hello`, "", "a value was expected here, not 'h'"},
		{"empty array", ` @[ ]`, "", "holds no command"},
		{"trailing data", `{"stream":"order/42","type":"x"} @{}`, "", "something follows"},
		{"trailing comma after the text", `{"stream":"order/42","type":"x"}@,`, "", "something follows"},
		{"trailing data after an array", `[{"stream":"order/42","type":"x"}]@]`, "", "something follows"},
		{"trailing NUL", `{"stream":"order/42","type":"x"}@` + "\x00", "", "something follows"},
		{"cut off after a name", `{"stream"@`, "/stream", "the text ends where a colon"},
		{"cut off in a string", `{"stream":"order@`, "/stream", "ends inside a string"},
		{"cut off in an escape", `{"stream":"order\@`, "/stream", "ends inside a string"},
		{"cut off in an object", `{"stream":"order/42"@`, "/stream", "a comma or }"},
		{"cut off in an array", `[{"stream":"order/42","type":"x"}@`, "/0", "a comma or ]"},
		{"cut off in a literal", head + `@nul`, "/data", "a value was expected"},
		{"form feed is no white space", "@\f{}", "", `not '\f'`},
		{"comment", `{@/*x*/}`, "", "a member name in quotes"},
		{"single quotes", `{@'a':1}`, "", "a member name in quotes"},
		{"bare name", `{@a:1}`, "", "a member name in quotes"},
		{"no colon", `{"a" @1}`, "/a", "a colon"},
		{"no comma", head + `{"a":1 @"b":2}}`, "/data/a", "a comma or }"},
		{"comma before }", head + `{"a":1,@}}`, "/data", "nothing follows after the comma"},
		{"comma before ]", head + `[1,@]}`, "/data/1", "nothing follows after the comma"},
		{"comma first", head + `[@,1]}`, "/data/0", "a value was expected here, not ','"},
		{"no value", head + `@}`, "/data", "a value was expected here, not '}'"},
		{"wrong bracket", head + `[1@}`, "/data/0", "a comma or ]"},
		{"leading zero", head + `0@1}`, "/data", "a comma or }"},
		{"plus sign", head + `@+1}`, "/data", "a value was expected"},
		{"minus alone", head + `-@}`, "/data", "a digit was expected"},
		{"point first", head + `@.5}`, "/data", "a value was expected"},
		{"point last", head + `[5.@]}`, "/data/0", "a digit after the decimal point"},
		{"exponent empty", head + `5e+@}`, "/data", "a digit of the exponent"},
		{"NaN", head + `@NaN}`, "/data", "a value was expected"},
		{"True", head + `@True}`, "/data", "a value was expected"},
		{"raw control character", head + "{\"a\":\"x@\ny\"}}", "/data/a", "a control character"},
		{"raw NUL in a name", head + "{\"a@\x00\":1}}", "/data", "a control character"},
		{"no such escape", head + `"@\x41"}`, "/data", "no such escape"},
		{"short unicode escape", head + `"@\u12g4"}`, "/data", "four hexadecimal digits"},
		{"invalid UTF-8, RFC 8259 section 8.1", head + "\"0123456789@\xff\"}", "/data", "not valid UTF-8"},
		{"overlong UTF-8", head + "\"@\xc0\xaf\"}", "/data", "not valid UTF-8"},
		{"a surrogate in UTF-8", head + "\"@\xed\xa0\x80\"}", "/data", "not valid UTF-8"},
		{"cut off UTF-8", head + "\"@\xe2\x82\"}", "/data", "not valid UTF-8"},
		{"invalid UTF-8 outside strings", "{@\xff}", "", "not valid UTF-8"},
		{"nested too deep", head + strings.Repeat("[", 31) + "@[" + strings.Repeat("]", 32) + "}",
			"/data" + strings.Repeat("/0", 31), "nested deeper than 32"},
		{"nested too deep beyond any stack", strings.Repeat("[", 32) + "@" + strings.Repeat("[", 100_000),
			strings.Repeat("/0", 32), "nested deeper than 32"},
		{"broken after a refused member", `{"stream":7,"\ud800":"x","type":@x}`, "/type", "a value was expected"},
		{"broken in a later item", `[{"stream":7},{"type" @7}]`, "/1/type", "a colon"},
		{"long names are cut from the place", head + `{"a/~b":{"` + strings.Repeat("n", 600) + `":@x}}}`,
			"/data/a~1~0b", "a value"},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.check(t, func(body string) error {
				_, err := commands.DecodeRequest([]byte(body), commands.DefaultBodyLimits)
				return err
			})
		})
	}
}

// What is JSON but no I-JSON (RFC 7493), or no command, refuses the one item.
func TestCommandsRefused(t *testing.T) {
	t.Parallel()
	const head = `{"stream":"order/42","type":"x",`
	long := strings.Repeat("a", 129)
	for _, r := range []refusal{
		{"empty object", `@{}`, "", `no "stream"`},
		{"no stream", ` @{"type":"x"}`, "", `no "stream"`},
		{"no type", `@{"stream":"order/42"}`, "", `no "type"`},

		{"lone high surrogate, RFC 7493 section 2.1", head + `"data":"a@\ud800"}`, "/data", "lone surrogate"},
		{"lone low surrogate", head + `"data":"@\udc00"}`, "/data", "lone surrogate"},
		{"high surrogate before another escape", head + `"data":"@\ud800\u0041"}`, "/data", "lone surrogate"},
		{"two high surrogates", head + `"data":"@\ud800\ud800\udc00"}`, "/data", "lone surrogate"},
		{"lone surrogate in a name", head + `"data":{"@\ud800":1}}`, "/data", "lone surrogate"},
		{"noncharacter, RFC 7493 section 2.1", head + "\"data\":[\"@\uffff\"]}", "/data/0", "no character"},
		{"noncharacter of the block", head + "\"data\":\"@\ufdd0\"}", "/data", "no character"},
		{"noncharacter escaped", head + `"data":"@\uFFFE"}`, "/data", "no character"},
		{"noncharacter of a higher plane", head + "\"actor\":\"@\U0010fffe\"}", "/actor", "no character"},
		{"noncharacter of a higher plane, escaped", head + `"data":"@\ud83f\udfff"}`, "/data", "no character"},

		{"name twice, RFC 7493 section 2.3", head + `"data":{"a":1,@"a":2}}`, "/data/a", "given twice"},
		{"name twice, one escaped", head + `"data":{"a":1,@"\u0061":2}}`, "/data/a", "given twice"},
		{"name twice, deep", head + `"data":[0,{"x":{"b":1,"c":[],@"b":1}}]}`, "/data/1/x/b", "given twice"},
		{"name twice among many", head + `"data":{` + manyNames(40) + `,@"n17":1}}`, "/data/n17", "given twice"},
		{"empty name twice", head + `"data":{"":1,@"":2}}`, "/data/", "given twice"},
		{"member twice", head + `@"type":"y"}`, "/type", `"type" is given twice`},
		{"member twice, one escaped", head + `@"t\u0079pe":"y"}`, "/type", `"type" is given twice`},
		{"data twice", head + `"data":1,@"data":1}`, "/data", `"data" is given twice`},

		{"unknown member", head + `@"tenant":"a"}`, "/tenant", "no member of this name; it has id, stream"},
		{"unknown member with an object", head + `@"meta":{"a":[1]}}`, "/meta", "no member of this name"},
		{"member in another case", `{"stream":"order/42",@"Type":"x"}`, "/Type", `"type" is spelled in lower case`},
		{"member twice in two cases", head + `@"TYPE":"x"}`, "/TYPE", `"type" is spelled in lower case`},
		{"member with a Kelvin sign for k", head + "@\"tic\u212aet\":\"x\"}", "/tic\u212aet",
			`"ticket" is spelled in lower case`},

		{"id a number", head + `"id":@7}`, "/id", `"id" must be a string, not a number`},
		{"stream null", `{"type":"x","stream":@null}`, "/stream", `must be a string, not null`},
		{"type an object", `{"stream":"order/42","type":@{"a":1}}`, "/type", `must be a string, not an object`},
		{"ticket an array", head + `"ticket":@[]}`, "/ticket", `must be a string, not an array`},
		{"policy a boolean", head + `"policy":@true}`, "/policy", `must be a string, not true or false`},
		{"session null", head + `"session":@null}`, "/session", `must be a string, not null`},
		{"actor a number", head + `"actor":@-1}`, "/actor", `must be a string, not a number`},

		{"id no UUID", head + `"id":@"42"}`, "/id", `"id" must be a UUID`},
		{"id with braces", head + `"id":@"{` + someID + `}"}`, "/id", `"id" must be a UUID`},
		{"id without hyphens", head + `"id":@"` + strings.ReplaceAll(someID, "-", "") + `"}`, "/id",
			`"id" must be a UUID`},
		{"id genesis", head + `"id":@"genesis"}`, "/id", `"id" must be a UUID`},
		{"id the nil UUID", head + `"id":@"00000000-0000-0000-0000-000000000000"}`, "/id", `nil`},
		{"id the max UUID", head + `"id":@"FFFFFFFF-ffff-ffff-ffff-ffffffffffff"}`, "/id", `max`},
		{"ticket empty", head + `"ticket":@""}`, "/ticket", `genesis`},
		{"ticket in upper case", head + `"ticket":@"GENESIS"}`, "/ticket", `genesis`},
		{"ticket the nil UUID", head + `"ticket":@"00000000-0000-0000-0000-000000000000"}`, "/ticket", `genesis`},
		{"ticket the max UUID", head + `"ticket":@"ffffffff-ffff-ffff-ffff-ffffffffffff"}`, "/ticket", `genesis`},

		{"stream without id", `{"type":"x","stream":@"order"}`, "/stream", "is not type/id"},
		{"stream with an empty id", `{"type":"x","stream":@"order/"}`, "/stream", "is not type/id"},
		{"stream with two slashes", `{"type":"x","stream":@"order/4/2"}`, "/stream", "is not type/id"},
		{"stream type in upper case", `{"type":"x","stream":@"Order/42"}`, "/stream", "is not type/id"},
		{"stream id too long", `{"type":"x","stream":@"order/` + long + `"}`, "/stream", "is not type/id"},
		{"stream id with a letter beyond ASCII", `{"type":"x","stream":@"order/é"}`, "/stream", "is not type/id"},
		{"type empty", `{"stream":"order/42","type":@""}`, "/type", `"type" must be`},
		{"type in upper case", `{"stream":"order/42","type":@"AddLine"}`, "/type", `"type" must be`},
		{"type too long", `{"stream":"order/42","type":@"` + long + `"}`, "/type", `128 characters`},
		{"policy unknown", head + `"policy":@"first"}`, "/policy", `"policy" must be ticket, strict, session or any`},
		{"policy empty", head + `"policy":@""}`, "/policy", `"policy" must be`},

		{"session too long", head + `"session":@"` + long + `"}`, "/session", "128 characters at most"},
		{"session with a line feed", head + `"session":@"a\nb"}`, "/session", "control characters"},
		{"actor too long", head + `"actor":@"` + strings.Repeat("é", 257) + `"}`, "/actor", "256 characters at most"},
		{"actor with NUL", head + `"actor":@"a\u0000"}`, "/actor", "control characters"},
		{"actor with a C1 control", head + "\"actor\":@\"\u0085\"}", "/actor", "control characters"},
		{"the first of several", `{"stream":"order/42","id":@"x","type":"X","extra":1}`, "/id", `"id" must be a UUID`},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.check(t, func(body string) error {
				request := decode(t, body)
				require.Len(t, request.Items, 1)
				return request.Items[0].Err
			})
			inArray := refusal{pointer: "/1" + r.pointer, detail: r.detail,
				body: `[{"stream":"order/42","type":"x"},` + r.body + `,{"stream":"order/42","type":"x"}]`}
			inArray.check(t, func(body string) error {
				request := decode(t, body)
				require.Len(t, request.Items, 3)
				require.Nil(t, request.Items[0].Err)
				require.Nil(t, request.Items[2].Err)
				return request.Items[1].Err
			})
		})
	}
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"n%d":0`, i)
	}
	return strings.Join(names, ",")
}

func TestTheBoundsAreMetExactly(t *testing.T) {
	t.Parallel()
	const head = `{"stream":"order/42","type":"x",`
	for name, body := range map[string]string{
		"nested 32 deep":            head + `"data":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`,
		"256 commands":              "[" + strings.Repeat(head+`"data":0},`, 255) + head + `"data":0}]`,
		"256 KiB":                   head + `"data":"` + strings.Repeat("a", 256<<10-len(head+`"data":""}`)) + `"}`,
		"128 characters of session": head + `"session":"` + strings.Repeat("é", 128) + `"}`,
		"256 characters of actor":   head + `"actor":"` + strings.Repeat("é", 256) + `"}`,
		"128 characters of name": `{"stream":"` + strings.Repeat("o", 128) + `/` +
			strings.Repeat("i", 128) + `","type":"` + strings.Repeat("t", 128) + `"}`,
		"empty session and actor":    head + `"session":"","actor":""}`,
		"many names, all different":  head + `"data":{` + manyNames(1000) + `}}`,
		"nested objects, same names": head + `"data":{"a":{"a":{"a":1}},"b":{"a":1}}}`,
	} {
		for _, item := range decode(t, body).Items {
			require.Nil(t, item.Err, name)
		}
	}
}

func TestTooLargeIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	var malformed *commands.MalformedError
	_, err := commands.DecodeRequest(make([]byte, 256<<10+1), commands.DefaultBodyLimits)
	require.ErrorAs(t, err, &malformed)
	require.Equal(t, commands.TooLarge, malformed.Code)
	require.Equal(t, 256<<10, malformed.Offset)

	_, err = commands.DecodeRequest([]byte("["+strings.Repeat(`{},`, 256)+`{}]`), commands.DefaultBodyLimits)
	require.ErrorAs(t, err, &malformed)
	require.Equal(t, commands.TooLarge, malformed.Code)
	require.Equal(t, "/256", malformed.Pointer)
}

func TestDecodeTakesOneCommandOnly(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`[{"stream":"order/42","type":"x"}]`, `{"stream":"order/42"}`, `{`, ``} {
		_, err := commands.Decode([]byte(body))
		var malformed *commands.MalformedError
		require.ErrorAs(t, err, &malformed, body)
		require.NotEmpty(t, malformed.Error())
	}
}
