// Has Apache Kafka's own classes read and write every line of the golden files, and compares `error_codes.txt` with its
// own codes; fails when something differs.
// java -cp "$KAFKA_LIBS/*" tests/protocol/golden/Check.java tests/protocol/golden

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.stream.Collectors;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.MessageUtil;

class Check {
    static ApiMessage empty(String name) {
        boolean request = name.endsWith("Request");
        String api = name.replaceAll("(Request|Response)$", "");
        for (ApiMessageType type : ApiMessageType.values()) {
            if (type.name.equals(api)) {
                return request ? type.newRequest() : type.newResponse();
            }
        }
        throw new IllegalArgumentException(name);
    }

    static String line(Errors error) {
        boolean retriable = error.exception() instanceof RetriableException;
        return error.code() + " " + error.name() + (retriable ? " retriable" : "") + "\n";
    }

    public static void main(String[] arguments) throws Exception {
        int lines = 0;
        int wrong = 0;
        try (var files = Files.newDirectoryStream(Path.of(arguments[0]), "*.hex")) {
            for (Path file : files) {
                String name = file.getFileName().toString().replace(".hex", "");
                for (String line : Files.readAllLines(file)) {
                    String[] parts = line.split(" ", 2);
                    short version = Short.parseShort(parts[0]);
                    byte[] expected = HexFormat.of().parseHex(parts[1]);
                    ApiMessage message = empty(name);
                    ByteBuffer input = ByteBuffer.wrap(expected);
                    // ListOffsets 0 went with Kafka 4.
                    if (version < message.lowestSupportedVersion()) {
                        continue;
                    }
                    message.read(new ByteBufferAccessor(input), version);
                    ByteBuffer output = MessageUtil.toByteBufferAccessor(message, version).buffer();
                    byte[] written = new byte[output.remaining()];
                    output.get(written);
                    lines++;
                    if (input.hasRemaining() || !Arrays.equals(expected, written)) {
                        wrong++;
                        System.out.println(name + " version " + version + " differs: " + message);
                    }
                }
            }
        }
        Path codes = Path.of(arguments[0], "error_codes.txt");
        String expected = Arrays.stream(Errors.values()).map(Check::line).collect(Collectors.joining());
        if (!Files.readString(codes).equals(expected)) {
            wrong++;
            System.out.println("error codes differ; expected:\n" + expected);
        }
        System.out.println(lines + " lines, " + wrong + " differ");
        System.exit(wrong == 0 && lines > 0 ? 0 : 1);
    }
}
