package aggregate

import "github.com/ticketed/doorman/commands"

// Instance is one stream as the worker holds it.
type Instance struct {
	parked map[commands.ID]*Waiting
}
