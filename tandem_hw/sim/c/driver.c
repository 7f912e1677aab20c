/*
 * Runs the samples of a folder through a generated network, which is part of this program, and
 * writes what it did: tandem_hw/sim/c/program.py starts it and reads the files.
 *
 *     program FOLDER SAMPLES PROCESSES KEEPS_STATES
 *
 * Several processes take turns at groups of samples. The first one computes nothing: it tells how
 * far the others are, and ends all of them when its standard input is closed, which only its parent
 * holds open.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "network.c"

enum { LAYERS = sizeof network_layers / sizeof network_layers[0] };
enum { TABLES = sizeof network_tables / sizeof network_tables[0] };
enum { GROUP_BYTES = 1 << 20, MOST_PROCESSES = 1024, TELL_MILLISECONDS = 50 };

/* What the processes share. */
typedef struct {
    uint64_t next, done;
    int32_t peak[MOST_PROCESSES][LAYERS];
} board;

/* The files, and what is collected for them of a group of samples. */
typedef struct {
    int inputs, counts[LAYERS], final[LAYERS], left, results;
    uint8_t *input_rows;
    network_count *count_rows[LAYERS];
    int32_t *final_rows[LAYERS], *result_rows;
    int64_t *left_rows;
} records;

static const char *folder;
/* Whether the state of every neuron at the window's end is written as well. */
static int keeps_states;

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_file(const char *name, int layer, int flags)
{
    char path[4096];
    const int length = layer < 0 ? snprintf(path, sizeof path, "%s/%s", folder, name)
        : snprintf(path, sizeof path, "%s/%s-%d", folder, name, layer);
    if (length < 0 || (size_t)length >= sizeof path) {
        errno = ENAMETOOLONG;
        fail(folder);
    }
    const int file = open(path, flags, 0600);
    if (file < 0)
        fail(path);
    return file;
}

static void write_rows(int file, const void *rows, size_t row, uint64_t first, size_t number)
{
    const char *at = rows;
    size_t size = row * number;
    off_t offset = (off_t)(row * first);
    while (size > 0) {
        const ssize_t written = pwrite(file, at, size, offset);
        if (written < 0 && errno != EINTR)
            fail("the results cannot be written");
        if (written > 0) {
            at += written;
            offset += written;
            size -= (size_t)written;
        }
    }
}

static void read_rows(int file, uint8_t *rows, size_t row, uint64_t first, size_t number)
{
    size_t size = row * number;
    off_t offset = (off_t)(row * first);
    while (size > 0) {
        const ssize_t found = pread(file, rows, size, offset);
        if (found == 0) {
            errno = ENODATA;
            fail("the inputs end too early");
        }
        if (found < 0 && errno != EINTR)
            fail("the inputs cannot be read");
        if (found > 0) {
            rows += found;
            offset += found;
            size -= (size_t)found;
        }
    }
}

static void *memory_for(size_t number, size_t size)
{
    void *found = malloc(number * size + 1);
    if (found == NULL)
        fail("memory for the results");
    return found;
}

static size_t neurons_of(int layer)
{
    return (size_t)network_layers[layer].channels * network_layers[layer].positions;
}

static size_t samples_of_a_group(uint64_t samples, int processes)
{
    size_t bytes = NETWORK_SAMPLE + 4 * NETWORK_OUTPUTS + 8 * LAYERS;
    for (int layer = 0; layer < LAYERS; ++layer)
        bytes += neurons_of(layer) * (sizeof(network_count) + 4);
    const uint64_t fit = GROUP_BYTES / bytes, shares = samples / (4 * (uint64_t)processes);
    const uint64_t size = fit < shares ? fit : shares;
    return size > 0 ? (size_t)size : 1;
}

static void open_records(records *all, size_t group)
{
    const int flags = O_RDWR | O_CREAT;
    all->inputs = open_file("inputs", -1, O_RDONLY);
    all->results = open_file("results", -1, flags);
    all->left = open_file("left", -1, flags);
    all->input_rows = memory_for(group, NETWORK_SAMPLE);
    all->result_rows = memory_for(group, 4 * NETWORK_OUTPUTS);
    all->left_rows = memory_for(group, 8 * LAYERS);
    for (int layer = 0; layer < LAYERS; ++layer) {
        if (network_layers[layer].counts == NULL)
            continue;
        all->counts[layer] = open_file("counts", layer, flags);
        all->count_rows[layer] = memory_for(group * neurons_of(layer), sizeof(network_count));
        if (keeps_states) {
            all->final[layer] = open_file("final", layer, flags);
            all->final_rows[layer] = memory_for(group * neurons_of(layer), 4);
        }
    }
}

/* Keeps what a sample did, the channels first. */
static void keep(const records *all, size_t row)
{
    memcpy(all->left_rows + row * LAYERS, network_left, sizeof network_left);
    for (int layer = 0; layer < LAYERS; ++layer) {
        const network_layer *of = &network_layers[layer];
        if (of->counts == NULL)
            continue;
        network_count *counts = all->count_rows[layer] + row * neurons_of(layer);
        for (uint32_t channel = 0; channel < of->channels; ++channel)
            for (uint32_t place = 0; place < of->positions; ++place)
                *counts++ = of->counts[place * of->channels + channel];
        if (!keeps_states)
            continue;
        int32_t *final = all->final_rows[layer] + row * neurons_of(layer);
        for (uint32_t channel = 0; channel < of->channels; ++channel)
            for (uint32_t place = 0; place < of->positions; ++place)
                *final++ = of->final[place * of->channels + channel];
    }
}

static void write_records(const records *all, uint64_t first, size_t number)
{
    write_rows(all->results, all->result_rows, 4 * NETWORK_OUTPUTS, first, number);
    write_rows(all->left, all->left_rows, 8 * LAYERS, first, number);
    for (int layer = 0; layer < LAYERS; ++layer)
        if (network_layers[layer].counts != NULL) {
            const size_t neurons = neurons_of(layer);
            write_rows(all->counts[layer], all->count_rows[layer],
                neurons * sizeof(network_count), first, number);
            if (keeps_states)
                write_rows(all->final[layer], all->final_rows[layer], neurons * 4, first, number);
        }
}

static void work(board *shared, int process, uint64_t samples, size_t group)
{
    static records all;
    open_records(&all, group);
    for (;;) {
        const uint64_t first = __sync_fetch_and_add(&shared->next, group);
        if (first >= samples)
            break;
        const size_t number = samples - first < group ? (size_t)(samples - first) : group;
        read_rows(all.inputs, all.input_rows, NETWORK_SAMPLE, first, number);
        for (size_t row = 0; row < number; ++row) {
            const uint8_t *sample = all.input_rows + row * NETWORK_SAMPLE;
            if (network_run(sample, all.result_rows + row * NETWORK_OUTPUTS) != 0) {
                errno = ERANGE;
                fail("an input is too large");
            }
            keep(&all, row);
        }
        write_records(&all, first, number);
        __sync_fetch_and_add(&shared->done, number);
    }
    memcpy(shared->peak[process], network_peak, sizeof network_peak);
}

/* Writes what the program computes with, as it lies in memory: tables, then thresholds. */
static void write_parameters(void)
{
    const int file = open_file("parameters", -1, O_WRONLY | O_CREAT);
    size_t at = 0;
    for (int table = 0; table < TABLES; ++table) {
        write_rows(file, network_tables[table].values, 1, at, network_tables[table].size);
        at += network_tables[table].size;
    }
    for (int layer = 0; layer < LAYERS; ++layer, at += 4)
        write_rows(file, &network_layers[layer].threshold, 1, at, 4);
}

int main(int number, char **arguments)
{
    if (number != 5)
        return 2;
    folder = arguments[1];
    const uint64_t samples = strtoull(arguments[2], NULL, 10);
    int processes = atoi(arguments[3]), gates[2];
    keeps_states = atoi(arguments[4]);
    if (processes < 1 || processes > MOST_PROCESSES)
        return 2;
    board *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || pipe(gates) != 0)
        fail("memory for the processes");
    const size_t group = samples_of_a_group(samples, processes);
    pid_t workers[MOST_PROCESSES];
    write_parameters();
    for (int process = 0; process < processes; ++process) {
        workers[process] = fork();
        if (workers[process] < 0)
            fail("a process cannot be started");
        if (workers[process] == 0) {
#ifdef __linux__
            prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
            close(gates[0]);
            work(shared, process, samples, group);
            _exit(0);
        }
    }
    /* The other end of the pipe is closed when the last worker has gone. */
    close(gates[1]);
    const int progress = open_file("progress", -1, O_WRONLY | O_CREAT);
    struct pollfd ends[2] = {{STDIN_FILENO, POLLIN, 0}, {gates[0], POLLIN, 0}};
    for (;;) {
        poll(ends, 2, TELL_MILLISECONDS);
        write_rows(progress, &shared->done, sizeof shared->done, 0, 1);
        if (ends[1].revents != 0)
            break;
        if (ends[0].revents != 0) {
            for (int process = 0; process < processes; ++process)
                kill(workers[process], SIGKILL);
            return 1;
        }
    }
    for (int process = 0; process < processes; ++process) {
        int status = 0;
        if (waitpid(workers[process], &status, 0) < 0 || status != 0) {
            if (WIFSIGNALED(status))
                fprintf(stderr, "a process was killed by signal %d\n", WTERMSIG(status));
            return 1;
        }
    }
    const int peaks = open_file("peak", -1, O_WRONLY | O_CREAT);
    for (int process = 0; process < processes; ++process)
        write_rows(peaks, shared->peak[process], sizeof shared->peak[process], process, 1);
    return 0;
}
