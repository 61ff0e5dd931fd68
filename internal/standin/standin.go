// Package standin stands in for the Pulumi providers of real clouds: for previews without credentials, plugins or a network,
// and for tests of whole stacks.
//
// A stand-in checks inputs against what it carries of the provider's own schema (types, required inputs, values, limits,
// conflicts), and tells from the same schema which changes replace a resource. With a World it creates, changes and deletes
// things as well, in memory. What it cannot know are rules that are not in a schema: what the cloud's API refuses, which
// quotas there are, whether a name is taken.
package standin

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"devctl/internal/plugin"
)

// Options say what to stand in for.
type Options struct {
	// Packages are names of Pulumi packages, such as aws.
	Packages []string
	// World is where resources live. Without one there are only previews: whatever is in the state is taken to exist as it
	// is there, and nothing can be changed.
	World *World
	// Known are answers to lookups in the cloud, by what LookupKey says of them.
	Known map[string]string
}

// Served are stand-ins at work.
type Served struct {
	// Ports are where they listen on 127.0.0.1, by package: engine.Options.Providers.
	Ports map[string]int

	known   map[string]string
	mu      sync.Mutex
	unknown []string
	done    []<-chan struct{}
}

// Serve serves stand-ins until ctx ends. It returns once they listen.
func Serve(ctx context.Context, o Options) (*Served, error) {
	s := &Served{Ports: map[string]int{}, known: o.Known}
	for _, name := range o.Packages {
		schema, err := schemaOf(name)
		if err != nil {
			return nil, err
		}
		port, done, err := plugin.Serve(ctx, name, schema.Version, (&provider{schema, o.World, s.lookup}).plugin())
		if err != nil {
			return nil, err
		}
		s.Ports[name] = port
		s.done = append(s.done, done)
	}
	return s, nil
}

// Wait waits until the stand-ins have stopped, some time after their context ended.
func (s *Served) Wait() {
	for _, done := range s.done {
		<-done
	}
}

// Unknown returns the keys of lookups that nothing is known about, sorted. Each was answered with a placeholder.
func (s *Served) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unknown)
}

// lookup answers a lookup, with a text that no id looks like if need be.
func (s *Served) lookup(key string) string {
	if answer, ok := s.known[key]; ok {
		return answer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, found := slices.BinarySearch(s.unknown, key); !found {
		s.unknown = slices.Insert(s.unknown, at, key)
	}
	return Placeholder(key)
}

// Placeholder is what stands for the answer to a lookup that nothing is known about.
func Placeholder(key string) string { return fmt.Sprintf("(id of %s)", key) }
