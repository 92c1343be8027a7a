package commands_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

func TestEachItemComesWithItsOwnText(t *testing.T) {
	t.Parallel()
	for body, texts := range map[string][]string{
		` {"stream":"order/42", "type":"submit"} `:          {`{"stream":"order/42", "type":"submit"}`},
		`[ {"stream":"order/42","type":"a"} ,7,{"x":[1]} ]`: {`{"stream":"order/42","type":"a"}`, `7`, `{"x":[1]}`},
	} {
		request, err := commands.DecodeRequest([]byte(body), commands.DefaultBodyLimits)
		require.NoError(t, err, body)
		require.Len(t, request.Items, len(texts))
		for i, text := range texts {
			require.Equal(t, text, string(request.Items[i].Text))
		}
	}
}

func TestAnActorIsTextForPeople(t *testing.T) {
	t.Parallel()
	for text, fine := range map[string]bool{
		"billing": true, "": true, strings.Repeat("ä", 256): true,
		strings.Repeat("ä", 257): false, "a\nb": false, "\xff": false, "\x00": false,
	} {
		require.Equal(t, fine, commands.ActorProblem(text) == "", "%q", text)
	}
}
