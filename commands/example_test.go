package commands_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/ticketed/doorman/commands"
)

func ExampleDecode() {
	cmd, err := commands.Decode([]byte(`{"stream":"order/42","type":"add_line","ticket":"genesis",
		"data":{"sku":"A1","qty":2}}`))
	fmt.Println(cmd.Stream, cmd.Type, cmd.Ticket, cmd.Policy, string(cmd.Data), err)
	// Output: order/42 add_line genesis ticket {"sku":"A1","qty":2} <nil>
}

func ExampleDecodeRequest() {
	request, err := commands.DecodeRequest([]byte(`[
		{"stream":"order/42","type":"add_line","ticket":"genesis","data":{"qty":2}},
		{"stream":"order/42","type":"add_line","data":{"qty":2,"qty":3}}
	]`), commands.DefaultBodyLimits)
	if err != nil {
		panic(err)
	}
	for _, item := range request.Items {
		if item.Err != nil {
			fmt.Println("refused:", item.Err)
			continue
		}
		fmt.Println("taken:", item.Command.Type, item.Members.Has(commands.MemberID))
	}
	// Output:
	// taken: add_line false
	// refused: a name is given twice in one object (/1/data/qty, at byte 138)
}

func ExampleMalformedError() {
	_, err := commands.Decode([]byte(`{"stream":"order/42","type":"submit","Ticket":"genesis"}`))
	if malformed, ok := errors.AsType[*commands.MalformedError](err); ok {
		fmt.Println(malformed.Code, malformed.Pointer, malformed.Offset)
		fmt.Println(malformed.Detail)
	}
	// Output:
	// malformed /Ticket 37
	// a command has no member of this name; "ticket" is spelled in lower case
}

func ExampleCheckJSON() {
	fmt.Println(commands.CheckJSON([]byte(`{"qty":01}`), 32))
	// Output: a comma or } after the member was expected here, not '1' (/qty, at byte 8)
}

func ExampleEqualJSON() {
	fmt.Println(commands.EqualJSON([]byte(`{"sku":"A1","qty":2}`), []byte(`{ "qty":2, "sku":"\u00411" }`)))
	fmt.Println(commands.EqualJSON([]byte(`{"qty":2}`), []byte(`{"qty":2.0}`)))
	// Output:
	// true
	// false
}

func ExampleAppendAccepted() {
	id, _ := commands.ParseID("0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1")
	fmt.Println(string(commands.AppendAccepted(nil, id, commands.Stream{Type: "order", ID: "42"})))
	// Output: {"id":"0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1","stream":"order/42","status":"accepted"}
}

func ExampleAppendTime() {
	fmt.Println(string(commands.AppendTime(nil, time.UnixMicro(1_795_335_330_000_250))))
	// Output: 2026-11-22T08:15:30.000250Z
}

func ExampleAppendJSONString() {
	fmt.Println(string(commands.AppendJSONString(nil, "she said \"<hi>\"\n")))
	// Output: "she said \"<hi>\"\n"
}

func ExampleCommand_AppendTo() {
	cmd := commands.Command{
		Stream: commands.Stream{Type: "order", ID: "42"}, Type: "add_line", Ticket: commands.Genesis,
		Data: []byte(`{"qty":2}`),
	}
	fmt.Println(string(cmd.AppendTo(nil)))
	// Output: {"stream":"order/42","type":"add_line","ticket":"genesis","data":{"qty":2}}
}
