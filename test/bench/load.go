package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	// loadTime is how long load is put on Redis at a time, after warmTime of the same load that does not count.
	loadTime = 2 * time.Second
	// In the first half second of load, a load balancer that had nothing to do before is ahead of one that looks after its servers all
	// the time, by a tenth and more; then that is over. What is measured is what connections get that stay.
	warmTime = 600 * time.Millisecond
	// answerTime is how long a client waits for an answer before something is broken.
	answerTime = 10 * time.Second

	valueSize = 64   // bytes
	keys      = 1000 // of a cluster-aware client
)

var value = strings.Repeat("v", valueSize)

// load is what clients do: the same command again and again, so many of it at a time.
type load struct {
	op       string // SET or GET
	clients  int
	pipeline int
}

// rate is what came of a load.
type rate struct {
	perSecond float64       // commands
	p99       time.Duration // of one pipeline's round trip
}

// client does one round trip: a pipeline of commands, and all of its answers.
type client func() error

// measure lets the clients, which are connected, go for warmTime and loadTime.
func measure(ctx context.Context, l load, clients []client) (rate, error) {
	took := make([][]time.Duration, len(clients))
	var all errgroup.Group
	start := time.Now().Add(warmTime)
	for i, roundTrip := range clients {
		all.Go(func() error {
			for begun := time.Now(); begun.Sub(start) < loadTime && ctx.Err() == nil; {
				if err := roundTrip(); err != nil {
					return err
				}
				now := time.Now()
				if begun.After(start) {
					took[i] = append(took[i], now.Sub(begun))
				}
				begun = now
			}
			return ctx.Err()
		})
	}
	if err := all.Wait(); err != nil {
		return rate{}, err
	}
	elapsed := time.Since(start)
	sorted := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(sorted) == 0 {
		return rate{}, fmt.Errorf("no round trip began and ended within %s", loadTime)
	}
	return rate{
		perSecond: float64(len(sorted)*l.pipeline) / elapsed.Seconds(),
		p99:       sorted[len(sorted)*99/100],
	}, nil
}

// cluster is a load by one cluster-aware client, which is told nothing but an address, used by many at a time.
func (l load) cluster(ctx context.Context, a access, address string) (rate, error) {
	c := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{address}, Username: a.Username, Password: a.Password, PoolSize: l.clients, ReadTimeout: answerTime,
	})
	defer c.Close()
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range keys {
			p.Set(ctx, clusterKey(i), value, 0)
		}
		return nil
	})
	if err != nil {
		return rate{}, err
	}
	var clients []client
	for i := range l.clients {
		next := i * keys / l.clients
		clients = append(clients, func() error {
			_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
				for range l.pipeline {
					if l.op == "SET" {
						p.Set(ctx, clusterKey(next), value, 0)
					} else {
						p.Get(ctx, clusterKey(next))
					}
					next++
				}
				return nil
			})
			return err
		})
	}
	return measure(ctx, l, clients)
}

func clusterKey(i int) string { return fmt.Sprintf("bench-%d", i%keys) }

// plain is a load by clients that know nothing of clusters. Each has one connection, the first to the first address and so
// on, and uses a key that whoever answers there owns.
func (l load) plain(ctx context.Context, a access, addresses ...string) (rate, error) {
	var clients []client
	for i := range l.clients {
		conn, err := net.DialTimeout("tcp", addresses[i%len(addresses)], answerTime)
		if err != nil {
			return rate{}, err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(warmTime + loadTime + answerTime)); err != nil {
			return rate{}, err
		}
		roundTrip, err := l.on(conn, a)
		if err != nil {
			return rate{}, err
		}
		clients = append(clients, roundTrip)
	}
	return measure(ctx, l, clients)
}

// on logs in and finds a key.
func (l load) on(conn net.Conn, a access) (client, error) {
	if answer, err := ask(conn, encode("AUTH", a.Username, a.Password)); err != nil || answer != "+OK\r\n" {
		return nil, fmt.Errorf("log in to %s: %q: %w", conn.RemoteAddr(), answer, err)
	}
	for _, key := range thirds {
		answer, err := ask(conn, encode("SET", key, value))
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(answer, "-MOVED") {
			continue
		}
		sent, expected := encode("SET", key, value), "+OK\r\n"
		if l.op == "GET" {
			sent, expected = encode("GET", key), fmt.Sprintf("$%d\r\n%s\r\n", valueSize, value)
		}
		request, want := []byte(strings.Repeat(sent, l.pipeline)), []byte(strings.Repeat(expected, l.pipeline))
		got := make([]byte, len(want))
		return func() error {
			if _, err := conn.Write(request); err != nil {
				return err
			}
			if _, err := io.ReadFull(conn, got); err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return fmt.Errorf("%s answered %q", conn.RemoteAddr(), got)
			}
			return nil
		}, nil
	}
	return nil, errors.New("a primary owns none of three keys: the shards are not what they were")
}

// thirds are keys in the first, second and last third of a cluster's slots, and so of the three shards of the shipped stack.
var thirds = []string{"b", "c", "a"}

// command is a command as it is sent.
func encode(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// ask sends one command whose answer is one line.
func ask(conn net.Conn, request string) (string, error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	answer := make([]byte, 512)
	n, err := conn.Read(answer)
	return string(answer[:n]), err
}
