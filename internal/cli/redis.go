package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"

	"devctl/internal/cli/output"
)

const redisTimeout = 5 * time.Second

func newRedisCommand(d *deps) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:   "redis COMMAND [ARG...]",
		Short: "Send one command to the Redis cluster through the endpoint",
		Long: `Sends one Redis command through the stack's endpoint, as the user that applications have, and prints the answer. It
needs no redis-cli on this machine, and the password shows up in no argument and no process list. Redirections
between the shards are followed.`,
		Example: `  devctl redis SET greeting hello
  devctl redis GET greeting
  devctl redis -o json CLUSTER SHARDS`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exactly("COMMAND")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return runRedis(cmd.Context(), d, format, args) },
	}
	cmd.Flags().SetInterspersed(false) // what follows COMMAND belongs to it
	addFormat(cmd, &format)
	return cmd
}

func runRedis(ctx context.Context, d *deps, format output.Format, args []string) error {
	spec, out, err := d.standing(ctx)
	if err != nil {
		return err
	}
	o := publicOutputs(spec.Stack, out, true).Redis
	logging.Disable() // the library would write on stderr by itself what it returns as an error, too
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:    []string{fmt.Sprintf("%s:%d", o.Address, o.Port)},
		Username: o.Username, Password: o.Password,
		DialTimeout: redisTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout,
	})
	defer func() { _ = client.Close() }()
	words := make([]any, len(args))
	for i, arg := range args {
		words[i] = arg
	}
	answer, err := client.Do(ctx, words...).Result()
	switch {
	case errors.Is(err, redis.Nil):
		answer = nil
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case isRedisError(err):
		return fmt.Errorf("redis refused %s: %w", strings.ToUpper(args[0]), err)
	case err != nil:
		return withNext(fmt.Errorf("ask redis at %s:%d: %w", o.Address, o.Port, err), d.command("status")+" shows how the cluster and its endpoint are")
	}
	answer = plainAnswer(answer)
	return output.Write(d.streams.Out, format, answer, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, answerText(answer, ""))
		return err
	})
}

func isRedisError(err error) bool {
	var refused redis.Error
	return errors.As(err, &refused)
}

// plainAnswer turns an answer into what JSON can hold: maps with keys that are no strings become lists of pairs.
func plainAnswer(v any) any {
	switch v := v.(type) {
	case []any:
		all := make([]any, len(v))
		for i, item := range v {
			all[i] = plainAnswer(item)
		}
		return all
	case map[any]any:
		all := map[string]any{}
		for key, item := range v {
			all[fmt.Sprint(key)] = plainAnswer(item)
		}
		return all
	default:
		return v
	}
}

// answerText is an answer for people: what is inside another is indented.
func answerText(v any, indent string) string {
	switch v := v.(type) {
	case nil:
		return indent + "(nil)"
	case []any:
		if len(v) == 0 {
			return indent + "(none)"
		}
		var lines []string
		for _, item := range v {
			inner := answerText(item, indent+"  ")
			lines = append(lines, indent+"- "+strings.TrimPrefix(inner, indent+"  "))
		}
		return strings.Join(lines, "\n")
	case map[string]any:
		if len(v) == 0 {
			return indent + "(none)"
		}
		var lines []string
		for _, key := range sortedKeys(v) {
			switch item := v[key].(type) {
			case []any, map[string]any:
				lines = append(lines, indent+key+":\n"+answerText(item, indent+"  "))
			default:
				lines = append(lines, indent+key+": "+answerText(item, ""))
			}
		}
		return strings.Join(lines, "\n")
	default:
		return indent + strings.ReplaceAll(strings.TrimRight(fmt.Sprint(v), "\r\n"), "\n", "\n"+indent)
	}
}
