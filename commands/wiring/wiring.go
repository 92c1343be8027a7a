// Package wiring tells whoever puts a program together what was left out.
package wiring

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Missing reports all the parts of a package's configuration that are needed and missing.
func Missing(from string, parts map[string]bool) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if parts[name] {
			problems = append(problems, fmt.Errorf("%s: %s is not given", from, name))
		}
	}
	return errors.Join(problems...)
}
