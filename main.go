// Resin-supervisor keeps the apps of a device in their target state. This file reads the command line and the
// environment; package agent puts the parts together.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"resin-supervisor/api/client"
	"resin-supervisor/build/version"
	"resin-supervisor/update/agent"
)

const usage = `resin-supervisor keeps the apps of this device in their target state.

Usage: resin-supervisor [command]

  (none)       run the supervisor
  status       show the device, its services and the running update
    --watch      repeat until Ctrl-C
    --json       print one line of JSON, for scripts
  healthcheck  exit with 0 if the supervisor is healthy, with 1 if not
  api-key      print the global API key
  version      print the version
`

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "resin-supervisor:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	e := agent.ReadEnvironment(os.Getenv)
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	if len(args) > 1 && (args[1] == "-h" || args[1] == "--help") || name == "-h" || name == "--help" || name == "help" {
		_, err := os.Stdout.WriteString(usage)
		return err
	}
	if len(args) > 1 && name != "status" {
		return fmt.Errorf("%s takes no arguments", name)
	}
	switch name {
	case "":
		return agent.Run(e)
	case "status":
		return status(e, args[1:])
	case "healthcheck":
		return dial(e, "", healthTimeout).Healthy(context.Background())
	case "api-key":
		key, err := e.GlobalKey()
		if err == nil {
			fmt.Println(key)
		}
		return err
	case "version":
		fmt.Println(version.String())
		return nil
	}
	return fmt.Errorf("unknown command %q, see resin-supervisor -h", name)
}

// How long the commands wait for the supervisor.
const (
	healthTimeout = 30 * time.Second
	statusTimeout = 10 * time.Second
)

func dial(e agent.Environment, key string, timeout time.Duration) *client.Client {
	return client.New(net.JoinHostPort("127.0.0.1", strconv.Itoa(e.Port())), key, timeout)
}

func status(e agent.Environment, flags []string) error {
	show, err := client.ParseShow(flags)
	if err != nil {
		return err
	}
	key, err := e.GlobalKey()
	if err != nil {
		return err
	}
	return dial(e, key, statusTimeout).Show(context.Background(), show, os.Stdout)
}
