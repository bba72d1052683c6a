/* How many signed messages a second libopendkim verifies, on one thread, with its keys in a file: the loop of the daemon
 * without milter and without name look-ups. Called as crates/auth/examples/dkim_speed.rs is: opendkim FOLDER SECONDS. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include <opendkim/dkim.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "opendkim: %s\n", what);
	exit(1);
}

static unsigned char *slurp(const char *path, size_t *length)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
		die(path);
	*length = (size_t) ftell(file);
	rewind(file);
	unsigned char *data = malloc(*length + 1);
	if (data == NULL || fread(data, 1, *length, file) != *length)
		die(path);
	fclose(file);
	data[*length] = '\0';
	return data;
}

static void verify(DKIM_LIB *lib, unsigned char *data, size_t length)
{
	DKIM_STAT status;
	DKIM *dkim = dkim_verify(lib, (unsigned char *) "id", NULL, &status);
	if (dkim == NULL || dkim_chunk(dkim, data, length) != DKIM_STAT_OK
	    || dkim_chunk(dkim, NULL, 0) != DKIM_STAT_OK)
		die("no message");
	if (dkim_eom(dkim, NULL) != DKIM_STAT_OK)
		die("it does not verify");
	dkim_free(dkim);
}

static int is_mail(const struct dirent *entry)
{
	const char *end = strrchr(entry->d_name, '.');
	return end != NULL && strcmp(end, ".eml") == 0;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		die("opendkim FOLDER SECONDS");
	double seconds = atof(argv[2]);
	DKIM_LIB *lib = dkim_init(NULL, NULL);
	if (lib == NULL)
		die("no library");

	char path[4096];
	dkim_query_t query = DKIM_QUERY_FILE;
	uint64_t now_fixed = 1700000000;
	snprintf(path, sizeof path, "%s/keys", argv[1]);
	dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &query, sizeof query);
	dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, path, strlen(path));
	dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_FIXEDTIME, &now_fixed, sizeof now_fixed);

	struct dirent **names;
	int count = scandir(argv[1], &names, is_mail, alphasort);
	for (int at = 0; at < count; at++) {
		size_t length;
		snprintf(path, sizeof path, "%s/%s", argv[1], names[at]->d_name);
		unsigned char *data = slurp(path, &length);
		double start = now();
		unsigned long verified = 0;
		for (; now() - start < seconds; verified++)
			verify(lib, data, length);
		*strrchr(names[at]->d_name, '.') = '\0';
		printf("%s %.0f\n", names[at]->d_name, verified / (now() - start));
		free(data);
	}
	dkim_close(lib);
	return 0;
}
