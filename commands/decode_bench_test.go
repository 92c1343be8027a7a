package commands_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ticketed/doorman/commands"
)

// typicalCommand is some 300 bytes long, the size that rates are told for.
var typicalCommand = []byte(`{"id":"0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1","stream":"order/2026-000042",` +
	`"type":"add_line","ticket":"0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77","policy":"ticket",` +
	`"session":"tab-9f3c2b7a51e84d06","actor":"Ann Example",` +
	`"data":{"sku":"A1-4711","qty":2,"price":"19.90","note":"gift wrapped, leave at the back door"}}`)

func BenchmarkDecodeRequest(b *testing.B) {
	array := slices.Concat([]byte("["), bytes.Repeat(slices.Concat(typicalCommand, []byte(",")), 63),
		typicalCommand, []byte("]"))
	for _, bench := range []struct {
		name string
		body []byte
	}{{"one", typicalCommand}, {"array of 64", array}} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.body)))
			b.ReportAllocs()
			for b.Loop() {
				request, err := commands.DecodeRequest(bench.body, commands.DefaultBodyLimits)
				if err != nil || request.Items[0].Err != nil {
					b.Fatal(err, request.Items[0].Err)
				}
			}
		})
	}
}
