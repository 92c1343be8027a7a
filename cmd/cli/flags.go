package cli

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError tells of a value that a flag cannot have as of everything else that is asked for wrongly: by the flag's
// name, and with what it wants, where the parsers of numbers have words of their own.
func flagError(_ *cobra.Command, err error) error {
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	flag, value := wrong.GetFlag(), wrong.GetValue()
	wanted := map[string]string{
		"int": "a whole number", "uint64": "a whole number that is not below 0", "float64": "a number",
		"duration": "a duration such as 30s or 2m", "bool": "true or false",
	}[flag.Value.Type()]
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("--%s: %q is out of range", flag.Name, value)
	case wanted == "":
		return fmt.Errorf("--%s: %w", flag.Name, errors.Unwrap(wrong)) // the flag's own words
	}
	return fmt.Errorf("--%s: %q is not %s", flag.Name, value, wanted)
}
