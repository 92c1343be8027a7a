// Package deploy turns the parts into one running program: it reads the configuration, opens the store,
// connects gateway, bus, worker and queries, serves HTTP, and takes it all down again in order.
//
//	config, err := deploy.Load(flags, os.Environ())
//	program, err := deploy.New(config, []aggregate.Type{document.Type(), order.Type()})
//	err = program.Start(ctx)          // it serves when this returns
//	fmt.Println(program.URL())        // http://127.0.0.1:8080
//	err = program.Stop()              // what was accepted is committed when this returns
//
// The whole program starts from a test in the same way, with Listen and AdminListen on port 0.
//
// # Configuration
//
// Every setting is one row of a table (settings.go), with one name: data_dir in the file, --data-dir as a
// flag, DOORMAN_DATA_DIR in the environment. Flags override the environment, which overrides the file,
// which overrides defaults. Secrets can be read from a mounted file (DOORMAN_POSTGRES_URL_FILE). A name
// that is no setting is an error, and all errors are told at once.
//
// # Commands of other services
//
// A gateway over RabbitMQ has a second door: it consumes what other services publish (ingress.go) and hands it to where
// the first one does. It closes before that one, when the program stops.
//
// # Two listeners
//
// Clients talk to the first one. The second is for operators: metrics, profiles. Health is told on both.
package deploy
