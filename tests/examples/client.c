#include <dcm/dcm.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	char name[DCM_NAME_SIZE];
	DcmHandle subscription, connection;
	Handle server, session;
	DcmMessage message;

	if (DcmInit() != rcOk ||
	    DcmSetSubscription("demo.Shout", NULL, NULL, INVALID_HANDLE, &subscription) != rcOk ||
	    DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, &server, NULL, name) != rcOk ||
	    DcmCreateConnection("demo.Shout", name, server, INVALID_HANDLE, &connection) != rcOk ||
	    DcmConnect(connection, 5000, &session) != rcOk ||
	    DcmLoan(session, 5, -1, &message) != rcOk)
		return fprintf(stderr, "client: %s\n", DcmLastDetail()), 1;
	memcpy(message.data, "hello", 5); /* written in place; the server reads it there */
	if (DcmCall(session, &message, 1000000000, &message) != rcOk)
		return fprintf(stderr, "client: %s\n", DcmLastDetail()), 1;
	printf("%.*s\n", (int)message.size, (char *)message.data);
	DcmRelease(&message);
	DcmFini();
	return 0;
}
