// Package hostos reads and changes the host that the supervisor runs on: its config.json, host name, OS version
// and network addresses. Every path is an argument; this package does not read environment variables.
package hostos
