/*
 * A TCP stream, for rates: `stream ADDRESS PORT get|put MEGABYTES` says get or put to a server, then takes or gives so
 * many megabytes. Prints `STREAM get|put MEGABYTES SECONDS`.
 */
#include "../bench/elapsed.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words)
{
    static char buffer[256 << 10];
    if (count < 5)
        return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    int is_put = !strcmp(words[3], "put"), line = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t left = strtoull(words[4], 0, 10) << 20;
    inet_pton(AF_INET, words[1], &address.sin_addr);
    if (connect(line, (struct sockaddr *)&address, sizeof address) || write(line, words[3], 3) != 3 ||
        write(line, &left, sizeof left) != sizeof left) {
        perror("stream");
        return 1;
    }
    double start = now();
    while (left) {
        size_t most = left < sizeof buffer ? left : sizeof buffer;
        ssize_t done = is_put ? write(line, buffer, most) : read(line, buffer, most);
        if (done <= 0)
            return 1;
        left -= done;
    }
    /* The server answers when it has everything. */
    if (is_put && read(line, buffer, 1) != 1)
        return 1;
    printf("STREAM %s %s %.4f\n", words[3], words[4], now() - start);
    return 0;
}
